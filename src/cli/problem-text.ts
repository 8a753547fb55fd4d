// Owns what the command line tells of a problem that Lapse answered.

/** What a problem says, its faults where it lists any. */
export function detailOf(body: unknown): string {
  if (typeof body !== "object" || body === null) return "no details";
  const { detail, errors } = body as { detail?: string; errors?: readonly { path: string; message: string }[] };
  const faults = (errors ?? []).map(({ path, message }) => `${path} ${message}`);
  return faults.length > 0 ? faults.join("; ") : (detail ?? "no details");
}
