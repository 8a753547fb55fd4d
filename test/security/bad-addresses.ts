// Owns the addresses that webhooks may not go to (security requirement C): each block's ends, and every form that each can be written in.

/** First and last address of each IPv4 block. */
export const ipv4Blocks: readonly (readonly [first: string, last: string])[] = [
  ["0.0.0.0", "0.255.255.255"],
  ["10.0.0.0", "10.255.255.255"],
  ["100.64.0.0", "100.127.255.255"],
  ["127.0.0.0", "127.255.255.255"],
  ["168.63.129.16", "168.63.129.16"],
  ["169.254.0.0", "169.254.255.255"],
  ["172.16.0.0", "172.31.255.255"],
  ["192.0.0.0", "192.0.0.255"],
  ["192.0.2.0", "192.0.2.255"],
  ["192.31.196.0", "192.31.196.255"],
  ["192.52.193.0", "192.52.193.255"],
  ["192.88.99.0", "192.88.99.255"],
  ["192.168.0.0", "192.168.255.255"],
  ["192.175.48.0", "192.175.48.255"],
  ["198.18.0.0", "198.19.255.255"],
  ["198.51.100.0", "198.51.100.255"],
  ["203.0.113.0", "203.0.113.255"],
  ["224.0.0.0", "239.255.255.255"],
  ["240.0.0.0", "255.255.255.255"],
];

/** First and last address of each IPv6 block, ::/96 without ::ffff:0:0/96 between the first two. */
export const ipv6Blocks: readonly (readonly [first: string, last: string])[] = [
  ["::", "::fffe:ffff:ffff"],
  ["::1:0:0:0", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"],
  ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
];

/** The neighbours of each block that are none of them, and some of the internet at large. */
export const justOutside = `
  1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15
  168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.1.255 192.0.3.0
  192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255
  192.169.0.0 192.175.47.255 192.175.49.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255
  203.0.114.0 223.255.255.255 2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200::
  2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2003::
  2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8001:: 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000::
  3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 8.8.8.8 93.184.216.34 2606:4700::1111 ::ffff:8.8.8.8
`
  .trim()
  .split(/\s+/);

/** What is known from attacks, beside the blocks' ends. */
export const knownIpv4 = ["127.0.0.1", "127.0.0.2", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.100.100.200"];
export const knownIpv6 =
  "::1 ::127.0.0.1 ::ffff:0:7f00:1 2002:7f00:1:: 64:ff9b:1::7f00:1 100::1 100:0:0:1::1 fe80::5efe:7f00:1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1".split(
    " ",
  );

export const badIpv4: readonly string[] = [...new Set([...ipv4Blocks.flat(), ...knownIpv4])];
export const badIpv6: readonly string[] = [...new Set([...ipv6Blocks.flat(), ...knownIpv6])];

/** An IPv4 address as the host of a URL, in every form that leads to it. */
export function ipv4Hosts(address: string): string[] {
  const bytes = address.split(".").map(Number);
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  const number = ((a * 256 + b) * 256 + c) * 256 + d;
  const groups = `${hex(a * 256 + b)}:${hex(c * 256 + d)}`;
  return [
    address,
    `${address}.`,
    `0x${hex(number)}`,
    bytes.map((byte) => `0X${hex(byte)}`).join("."),
    bytes.map(octal).join("."),
    octal(number),
    String(number),
    `${a}.${number % 2 ** 24}`,
    `${a}.${b}.${number % 2 ** 16}`,
    `${octal(a)}.0x${hex(number % 2 ** 24)}`,
    fullWidth(address),
    address.replaceAll(/./g, (char) => `%${hex(char.charCodeAt(0))}`),
    `[::ffff:${address}]`,
    `[0:0:0:0:0:FFFF:${groups}]`,
    `[::${address}]`,
    `[::ffff:0:${groups}]`,
    `[64:ff9b::${address}]`,
    `[64:ff9b:1::${groups}]`,
    `[2002:${groups}::]`,
    `[fe80::5efe:${groups}]`,
  ];
}

/** The same as a resolver may answer it: an IPv4 address, or an IPv6 one that holds it. */
export function ipv4Answers(address: string): string[] {
  return [address, `::ffff:${address}`, `64:ff9b::${address}`, `::${address}`];
}

export const hostsOfBadAddresses: readonly string[] = [
  ...badIpv4.flatMap(ipv4Hosts),
  ...badIpv6.map((address) => `[${address}]`),
];

function hex(number: number): string {
  return number.toString(16);
}

function octal(number: number): string {
  return `0${number.toString(8)}`;
}

/** Full-width digits and the ideographic full stop, which the URL parser reads as the plain ones. */
function fullWidth(address: string): string {
  return address
    .replaceAll(/\d/g, (digit) => String.fromCharCode(digit.charCodeAt(0) + 0xff10 - 0x30))
    .replaceAll(".", "\u3002");
}
