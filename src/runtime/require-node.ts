// Owns the refusal of an older Node. Imported first by every program that is started by hand; npm scripts find Node 24 by themselves.

const majorMin = 24;

if (Number.parseInt(process.versions.node, 10) < majorMin) {
  console.error(
    `Lapse needs Node ${majorMin} or later, this is ${process.versions.node}: start it by its npm script, which brings its own Node.`,
  );
  process.exit(2);
}
