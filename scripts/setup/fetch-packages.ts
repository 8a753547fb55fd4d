// Owns fetching programs on Debian and Ubuntu: packages are downloaded and unpacked into a folder of ours, nothing is installed.

import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Libraries of libraries: libsystemd0 needs some of its own. */
const libraryRoundsMax = 4;

export interface PackagesToFetch {
  readonly packages: readonly string[];
  /** The program wanted, below the cache folder: the libraries that it needs and the system lacks are fetched with it. */
  readonly program?: string;
  /** Where the packages' files come to lie, below `root`: whole or not at all. */
  readonly cacheFolder: string;
  /** Last touches before the folder takes its place; libraries are named relative to it. */
  readonly finish?: (folder: string, libraryFolders: readonly string[]) => Promise<void>;
}

/** Fetches the distribution's packages. Resolves to null, or to why there are none: never throws for what the world does. */
export async function fetchPackages(wanted: PackagesToFetch): Promise<string | null> {
  if (!has("apt-get") || !has("dpkg-deb")) return "this is neither Debian nor Ubuntu";
  const parent = dirname(wanted.cacheFolder);
  try {
    await mkdir(parent, { recursive: true });
    const folder = await mkdtemp(join(parent, "fetch-"));
    try {
      const reason = await fill(folder, wanted);
      if (reason !== null) return reason;
      await rm(wanted.cacheFolder, { recursive: true, force: true });
      await rename(folder, wanted.cacheFolder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return null;
}

/** Puts the program and its missing libraries into the folder; answers why it could not, or null. */
async function fill(folder: string, { packages, program, finish }: PackagesToFetch): Promise<string | null> {
  const apt = await findApt(folder, packages);
  if (apt === null) return `apt-get could not download ${packages.join(", ")} (no network, or not in the sources)`;
  await unpackAll(folder);
  const isLinked = async (): Promise<boolean> =>
    program === undefined || (await missingLibraries(folder, program)) === 0;
  for (let round = 0, names = packages; round < libraryRoundsMax && !(await isLinked()); round++) {
    names = librariesOf(names, apt);
    for (const name of names) download(folder, [name], apt);
    await unpackAll(folder);
  }
  await rm(join(folder, "apt"), { recursive: true, force: true });
  await rm(join(folder, "debs"), { recursive: true, force: true });
  await finish?.(folder, await libraryFolders(folder));
  return null;
}

/** The options apt is to be called with: the system's package lists, else lists of our own. Downloads the packages on the way. */
async function findApt(folder: string, packages: readonly string[]): Promise<readonly string[] | null> {
  await mkdir(join(folder, "debs"), { recursive: true });
  await mkdir(join(folder, "root"), { recursive: true });
  const cache = join(folder, "apt", "cache");
  await mkdir(join(cache, "archives", "partial"), { recursive: true });
  // As root apt would download as the user _apt, who may not enter this folder.
  const system = ["-o", `Dir::Cache=${cache}`, "-o", "APT::Sandbox::User=root"];
  if (download(folder, packages, system)) return system;

  const state = join(folder, "apt", "state");
  await mkdir(join(state, "lists", "partial"), { recursive: true });
  const own = [...system, "-o", `Dir::State=${state}`, "-o", "Dir::State::status=/var/lib/dpkg/status"];
  // Its exit code says nothing: one source that cannot be reached is no hindrance when another has the package.
  run("apt-get", [...own, "-qq", "update"], folder);
  return download(folder, packages, own) ? own : null;
}

function download(folder: string, names: readonly string[], apt: readonly string[]): boolean {
  return run("apt-get", [...apt, "-qq", "download", ...names], join(folder, "debs")).status === 0;
}

async function unpackAll(folder: string): Promise<void> {
  const debs = join(folder, "debs");
  for (const name of await readdir(debs)) {
    run("dpkg-deb", ["-x", join(debs, name), join(folder, "root")], folder);
    await rm(join(debs, name));
  }
}

/** How many libraries the dynamic linker does not find. */
async function missingLibraries(folder: string, program: string): Promise<number> {
  const libraryPath = (await libraryFolders(folder)).map((path) => join(folder, path)).join(":");
  const { stdout } = run("env", [`LD_LIBRARY_PATH=${libraryPath}`, "ldd", join(folder, program)], folder);
  return stdout.split("not found").length - 1;
}

function librariesOf(names: readonly string[], apt: readonly string[]): string[] {
  const { stdout } = run("apt-cache", [...apt, "depends", ...names], "/");
  const libraries = [...stdout.matchAll(/Depends: (lib\S+)/g)].map(([, name]) => name ?? "");
  return [...new Set(libraries)].filter((name) => name !== "libc6");
}

async function libraryFolders(folder: string): Promise<string[]> {
  const found = new Set<string>();
  for (const name of await readdir(join(folder, "root"), { recursive: true })) {
    if (/\.so(\.|$)/.test(basename(name)) && (await stat(join(folder, "root", name)).catch(() => null))?.isFile()) {
      found.add(join("root", dirname(name)));
    }
  }
  return [...found];
}

function has(name: string): boolean {
  return run("/bin/sh", ["-c", `command -v ${name}`], "/").status === 0;
}

function run(name: string, args: readonly string[], cwd: string): { status: number | null; stdout: string } {
  const { status, stdout } = spawnSync(name, args, { cwd, encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });
  return { status, stdout: stdout ?? "" };
}
