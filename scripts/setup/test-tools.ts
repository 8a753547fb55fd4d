// Owns where the programs that only tests need are found: on the system, else in the cache that `npm run setup` fills.

import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchPackages } from "./fetch-packages.ts";

/** Beside the fetched Redis; a tool's folder is there whole or not at all. */
const cacheFolder = fileURLToPath(new URL("../../node_modules/.cache/lapse/", import.meta.url));
const spinFolder = join(cacheFolder, "spin");
const faketimeFolder = join(cacheFolder, "faketime");
const compilerFolder = join(cacheFolder, "tcc");

/** A C compiler, with what its call begins and ends with. */
export interface Compiler {
  readonly program: string;
  /** Before all else. */
  readonly options: readonly string[];
  /** After the sources, where a program is linked. */
  readonly libraries: readonly string[];
}

/** Something that only tests need. */
interface TestTool {
  readonly name: string;
  readonly install: string;
  readonly isFound: () => boolean;
  /** Resolves to why it could not be fetched, or to null. */
  readonly fetch: () => Promise<string | null>;
}

export const testTools: readonly TestTool[] = [
  {
    name: "spin",
    install: "spin",
    isFound: () => findOwnSpin() !== null,
    fetch: () => fetchPackages({ packages: ["spin"], program: "root/usr/bin/spin", cacheFolder: spinFolder }),
  },
  {
    name: "C compiler",
    install: "gcc",
    isFound: () => findOwnCompiler() !== null,
    // The smallest there is: 300 KB beside the C library's headers.
    fetch: () =>
      fetchPackages({
        packages: ["tcc", "libc6-dev", "linux-libc-dev"],
        program: "root/usr/bin/tcc",
        cacheFolder: compilerFolder,
      }),
  },
  {
    name: "libfaketime",
    install: "libfaketime",
    isFound: () => findOwnFaketime() !== null,
    fetch: () => fetchPackages({ packages: ["libfaketime"], cacheFolder: faketimeFolder }),
  },
];

/** The model checker's absolute path. Throws where there is none, saying what to install. */
export function findSpin(): string {
  return found(findOwnSpin(), "spin");
}

/** The system's C compiler, else the one that was fetched. Throws where there is none, saying what to install. */
export function findCompiler(): Compiler {
  return found(findOwnCompiler(), "gcc");
}

/**
 * The environment under which a program's wall clock is off by `offset` (`+1h`, `-1h`); its monotonic clock is left alone. Throws where
 * there is no libfaketime, saying what to install.
 */
export function faketimeEnv(offset: string): Record<string, string> {
  return {
    LD_PRELOAD: found(findOwnFaketime(), "libfaketime"),
    FAKETIME: offset,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    DONT_FAKE_MONOTONIC: "1", // Its name before 0.9.9.
    FAKETIME_DONT_RESET: "1",
  };
}

function found<Tool>(tool: Tool | null, install: string): Tool {
  if (tool === null)
    throw new Error(
      `No ${install} here: \`npm run setup\` fetches it on Debian and Ubuntu; elsewhere install ${install} (Debian: apt install ${install})`,
    );
  return tool;
}

function findOwnSpin(): string | null {
  return findOnPath("spin") ?? existing(join(spinFolder, "root/usr/bin/spin"));
}

function findOwnCompiler(): Compiler | null {
  const program = findOnPath("cc") ?? findOnPath("gcc") ?? findOnPath("clang");
  return program === null ? findCachedCompiler() : { program, options: [], libraries: [] };
}

/** tcc looks for all it needs below /usr: it is told where they are instead. */
function findCachedCompiler(): Compiler | null {
  const root = join(compilerFolder, "root");
  const [triplet] = globSync("*-linux-*", { cwd: join(root, "usr/lib") });
  if (triplet === undefined) return null;
  const library = join(root, "usr/lib", triplet);
  const include = join(root, "usr/include");
  // A script for linkers that names the C library of the system.
  const [libc] = /\S+\/libc\.so\.\d+/.exec(readFileSync(join(library, "libc.so"), "utf8")) ?? [];
  if (libc === undefined) return null;
  const headers = [join(library, "tcc/include"), join(include, triplet), include];
  return {
    program: join(root, "usr/bin/tcc"),
    options: [`-B${join(library, "tcc")}`, "-nostdinc", ...headers.map((folder) => `-I${folder}`)],
    libraries: [
      "-nostdlib",
      ...["crt1.o", "crti.o"].map((file) => join(library, file)),
      libc,
      join(library, "libc_nonshared.a"),
      join(library, "tcc/libtcc1.a"),
      join(library, "crtn.o"),
    ],
  };
}

/** The library for programs with threads: Node has some. */
function findOwnFaketime(): string | null {
  const file = "faketime/libfaketimeMT.so.1";
  const folders = ["/usr/lib", "/usr/local/lib", join(faketimeFolder, "root/usr/lib")];
  const libraries = folders.flatMap((cwd) => globSync([file, `*/${file}`], { cwd }).map((path) => join(cwd, path)));
  return libraries[0] ?? null;
}

function findOnPath(name: string): string | null {
  const { stdout } = spawnSync("/bin/sh", ["-c", 'command -v "$1"', "sh", name], { encoding: "utf8" });
  return stdout?.trim() || null;
}

function existing(path: string): string | null {
  return existsSync(path) ? path : null;
}
