// Owns where an embedded server's files are kept: in the data folder, or, where root's server user cannot enter that, below /var/lib.

import { createHash } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SettingError } from "../runtime/setting-error.ts";
import { systemFolder } from "./postgres-binaries.ts";
import { canEnter, type ServerUser } from "./server-user.ts";

/** The folder of the database's files, inside the home. */
export const clusterName = "postgres";
/** In a home below `systemFolder`: the data folder that it stands for. */
export const originFile = "origin";
const hashCharsMax = 12;

export interface DataHome {
  readonly folder: string;
  /** Whether it is not the data folder itself. */
  readonly moved: boolean;
}

/** The data folder's stand-in below /var/lib: the same at every start, by the folder's real path. */
export function systemHome(dataDir: string): string {
  const hash = createHash("sha256").update(realpathSync(dataDir)).digest("hex");
  return join(systemFolder, `data-${hash.slice(0, hashCharsMax)}`);
}

/**
 * The home of a data folder, which exists. Data once made stays where it is: throws where it can no longer be entered, since an
 * empty database in another place would look like lost tasks.
 */
export async function findHome(dataDir: string, user: ServerUser | null): Promise<DataHome> {
  const home = systemHome(dataDir);
  const inPlace = { folder: realpathSync(dataDir), moved: false };
  if (existsSync(join(dataDir, clusterName))) {
    if (canEnter(user, dataDir)) return inPlace;
    const fault = `${dataDir} holds a database, and its server's user may no longer enter the folder`;
    throw new SettingError("LAPSE_DATA_DIR", fault);
  }
  if (!existsSync(join(home, clusterName)) && canEnter(user, dataDir)) return inPlace;
  await mkdir(home, { recursive: true, mode: 0o711 });
  await writeFile(join(home, originFile), `${inPlace.folder}\n`);
  return { folder: home, moved: true };
}
