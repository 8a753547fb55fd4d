// Owns how large a test is made: what fits into `npm test`, or the full size in `npm run test:long`.

export const isLong = process.env["TEST_SIZE"] === "long";

/** Picks the size of this run. */
export function sized<T>(sizes: { readonly usual: T; readonly long: T }): T {
  return isLong ? sizes.long : sizes.usual;
}
