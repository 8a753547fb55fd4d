// Owns the PostgreSQL that runs where DATABASE_URL is unset: its data outlives the process, the server does not.

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Log } from "../runtime/log.ts";
import { SettingError } from "../runtime/setting-error.ts";
import { lockDataDir } from "./data-dir-lock.ts";
import { clusterName, findHome } from "./data-home.ts";
import { endOrphans } from "./orphans.ts";
import { findPostgresBinaries } from "./postgres-binaries.ts";
import { type ClusterOptions, initCluster, runCluster, stopServer } from "./postgres-cluster.ts";
import { findServerUser, type ServerUser } from "./server-user.ts";
import { Supervisor } from "./supervisor.ts";

/** As durable as a production server: what is answered is on disk. The rest suits short statements on a small machine. */
const settings = {
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  max_connections: "200",
  shared_buffers: "256MB",
  max_wal_size: "1GB",
  jit: "off", // Compiling a plan takes longer than any statement here runs.
  log_checkpoints: "off",
};
const passwordBytes = 24;

export interface EmbeddedServer {
  readonly url: string;
  /** One line for people: what runs, and where its files are. */
  readonly description: string;
  stop(): Promise<void>;
}

/**
 * Starts PostgreSQL on `dataDir`, made at the first start. Resolves once it takes connections on loopback; it is started again if it dies.
 * Throws, with one line for the operator, where another process uses the folder or no server can be run here.
 */
export async function startEmbeddedPostgres(options: { dataDir: string; log: Log }): Promise<EmbeddedServer> {
  const lock = lockDataDir(options.dataDir);
  try {
    return await startLocked(options, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function startLocked(options: { dataDir: string; log: Log }, release: () => void): Promise<EmbeddedServer> {
  const { log } = options;
  const cluster = await prepareCluster(options.dataDir, log);
  const orphans = existsSync(cluster.folder) ? await endOrphans(cluster.folder) : 0;
  if (orphans > 0) log.info({ processes: orphans }, "embedded.orphans_ended");
  if (!existsSync(cluster.folder)) await initCluster(cluster);
  await checkMajor(cluster);
  const running = await runCluster(cluster);
  const supervisor = new Supervisor({
    name: "postgres",
    first: running.child,
    start: async () => (await runCluster(cluster, running.port)).child,
    log,
  });
  return {
    url: running.url,
    description: `embedded PostgreSQL ${cluster.binaries.major} in ${cluster.folder}`,
    stop: async () => {
      await stopServer(await supervisor.release());
      release();
    },
  };
}

async function prepareCluster(dataDir: string, log: Log): Promise<ClusterOptions> {
  const user = await findUser(dataDir);
  const [binaries, home] = await Promise.all([findPostgresBinaries(user), findHome(dataDir, user)]);
  if (binaries.copied || home.moved) {
    const reason = "the server's user cannot enter the folders they would be in";
    log.info({ files: home.folder, programs: dirname(binaries.postgres), reason }, "embedded.files_moved");
  }
  const { folder } = home;
  const password = await readPassword(join(folder, "password"));
  return {
    binaries,
    user,
    folder: join(folder, clusterName),
    password,
    logPath: join(folder, "postgres.log"),
    settings,
  };
}

/** As root, a database that an ordinary user made is run as that user: Postgres insists on owning its files. */
async function findUser(dataDir: string): Promise<ServerUser | null> {
  const user = findServerUser();
  const made = user === null ? null : await stat(join(dataDir, clusterName)).catch(() => null);
  return made === null || made.uid === 0 ? user : { uid: made.uid, gid: made.gid };
}

/** Made once. Any user of the machine can reach a port on loopback, so the server asks for it. */
async function readPassword(path: string): Promise<string> {
  if (!existsSync(path))
    await writeFile(path, randomBytes(passwordBytes).toString("hex"), { mode: 0o600, flush: true });
  await chmod(path, 0o600);
  return (await readFile(path, "utf8")).trim();
}

async function checkMajor(cluster: ClusterOptions): Promise<void> {
  const made = (await readFile(join(cluster.folder, "PG_VERSION"), "utf8")).trim();
  if (made === cluster.binaries.major) return;
  throw new SettingError(
    "LAPSE_DATA_DIR",
    `${cluster.folder} was made by PostgreSQL ${made}, and this Lapse brings ${cluster.binaries.major}: dump and restore it, or set DATABASE_URL`,
  );
}
