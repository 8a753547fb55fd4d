// Owns which headers a caller may have sent with a task (contract, section 2): used at create, and again at send, since SQL makes rows too.

const headersCountMax = 32;
/** Of all names and values together. */
const headersBytesMax = 8 * 1024;

/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** What one byte each can carry: tab, visible ASCII, space, and Latin-1's upper half, which is all that field-value allows. */
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Hop-by-hop headers, what the request's framing or its way is told by, and what we set ourselves. */
const refusedNames: ReadonlySet<string> = new Set([
  "host",
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "content-length",
  "content-encoding",
  "http2-settings",
  "cookie2",
  "forwarded",
  "via",
  "traceparent",
  "tracestate",
  "baggage",
]);
const refusedPrefixes = ["proxy-", "x-forwarded-", "webhook-", "lapse-"];

export interface HeaderFault {
  name: string;
  message: string;
}

/** Everything that is wrong with a caller's headers, in their order; the messages follow the header's name. */
export function checkHeaders(headers: Readonly<Record<string, unknown>>): HeaderFault[] {
  const faults: HeaderFault[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    const lowerName = name.toLowerCase();
    const bytesBefore = bytes;
    bytes += name.length + String(value).length;
    const message = nameFault(name, lowerName) ?? valueFault(value);
    if (message !== null) faults.push({ name, message });
    if (seen.has(lowerName)) faults.push({ name, message: "must not be given twice, in whatever case" });
    seen.add(lowerName);
    // Said once, of the header that goes over the limit.
    if (seen.size === headersCountMax + 1)
      faults.push({ name, message: `must not be one of more than ${headersCountMax} headers` });
    if (bytesBefore <= headersBytesMax && bytes > headersBytesMax) {
      faults.push({ name, message: `must not bring the headers over ${headersBytesMax} bytes altogether` });
    }
  }
  return faults;
}

/** Whether a header can carry this value at all. */
export function isFieldValue(value: string): boolean {
  return fieldValue.test(value);
}

function nameFault(name: string, lowerName: string): string | null {
  // As it was given: some characters beyond ASCII become ASCII letters in lower case.
  if (!token.test(name)) return "must be a header name as RFC 9110 has it";
  if (refusedNames.has(lowerName)) return "must not be set: it belongs to the connection, or to Lapse";
  const prefix = refusedPrefixes.find((refused) => lowerName.startsWith(refused));
  return prefix === undefined ? null : `must not be set: every ${prefix}* header is refused`;
}

function valueFault(value: unknown): string | null {
  if (typeof value !== "string") return "must be a string";
  return isFieldValue(value) ? null : "must not hold control characters, line breaks, or characters beyond Latin-1";
}
