// Owns the end of a switch over a union: a case that was forgotten fails the type check, and at run time throws.

export function unreachable(value: never): never {
  throw new Error(`unexpected ${JSON.stringify(value)}`);
}
