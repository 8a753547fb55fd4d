// Owns loading a peer's package: by a name that neither the compiler nor the linter follows, since peers are installed on demand.

/** Resolves to what the package exports, typed by the caller: just what it uses. */
export async function loadPeer<Exports>(name: string): Promise<Exports> {
  return (await import(name)) as Exports;
}
