// Owns the fault of a setting that only shows in use: a port that is taken, a folder that cannot be written.

/** Ends the start with exit code 2 and one line: its message, which names the variable first. */
export class SettingError extends Error {
  override readonly name = "SettingError";

  constructor(variable: string, fault: string, options?: { cause: unknown }) {
    super(`${variable}: ${fault}`, options);
  }
}
