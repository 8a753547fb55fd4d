// Owns whom an embedded PostgreSQL runs as: ourselves, or, since it refuses to run as root, the system user `postgres`.

import { spawnSync } from "node:child_process";

import { SettingError } from "../runtime/setting-error.ts";

const userName = "postgres";

export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user that servers are run as, made where it is missing; null where we are not root. Throws where it cannot be made. */
export function findServerUser(): ServerUser | null {
  if (process.geteuid?.() !== 0) return null;
  const found = lookUp();
  if (found !== null) return found;
  run("groupadd", ["--system", "--force", userName]);
  run("useradd", ["--system", "--gid", userName, "--no-create-home", "--shell", "/usr/sbin/nologin", userName]);
  const made = lookUp();
  if (made !== null) return made;
  const fault = `the embedded PostgreSQL does not run as root, and the user ${userName} cannot be made: set this, or start as another user`;
  throw new SettingError("DATABASE_URL", fault);
}

/** Whether that user may enter the folder, that is, may pass all the folders above it as well. */
export function canEnter(user: ServerUser | null, folder: string): boolean {
  if (user === null) return true;
  const result = spawnSync("/bin/sh", ["-c", 'cd "$1"', "sh", folder], {
    cwd: "/",
    stdio: "ignore",
    uid: user.uid,
    gid: user.gid,
  });
  return result.status === 0;
}

function lookUp(): ServerUser | null {
  const uid = Number.parseInt(run("id", ["-u", userName]), 10);
  const gid = Number.parseInt(run("id", ["-g", userName]), 10);
  return Number.isNaN(uid) || Number.isNaN(gid) ? null : { uid, gid };
}

function run(program: string, args: readonly string[]): string {
  return spawnSync(program, args, { encoding: "utf8" }).stdout ?? "";
}
