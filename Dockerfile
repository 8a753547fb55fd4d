# The service alone: PostgreSQL and Redis are named by DATABASE_URL and REDIS_URL.
#   docker build -t lapse .
#   docker run -e DATABASE_URL=… -e REDIS_URL=… -e LAPSE_API_KEY=… -p 8080:8080 lapse
#   docker run -e DATABASE_URL=… lapse node scripts/lapse.js migrate

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No install scripts: they fetch a Node and a PostgreSQL for machines without, and the image needs neither.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY src src
COPY scripts/build.ts scripts/tsconfig.build.json scripts/
RUN node scripts/build.ts

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The optional ones are the binaries of the embedded PostgreSQL.
RUN npm ci --ignore-scripts --omit=dev --omit=optional

FROM node:24-slim
ENV NODE_ENV=production NODE_OPTIONS=--enable-source-maps HOST=0.0.0.0 PORT=8080
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
COPY sql sql
COPY scripts/lapse.js scripts/lapse.js
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Node is process 1 and handles SIGTERM itself: it drains for up to 30 s, so give it longer before a kill.
STOPSIGNAL SIGTERM
CMD ["node", "dist/main.js"]
