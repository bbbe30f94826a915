// IP addresses: one spelling each, the network around them, and lists of networks. Pure.
// Whose address it is, and who is trusted, is for others.

import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** A list of networks. */
export interface Networks {
  has(address: string): boolean;
}

/** One address in its one spelling: IPv4 within IPv6 as IPv4, no zone, short. Undefined when it is none. */
export function canonicalAddress(text: string): string | undefined {
  return parse(text)?.toString();
}

/** The network that an address lies in, such as `2001:db8:1:2::/64`. The address is canonical. */
export function networkOf(address: string, bits: { readonly v4: number; readonly v6: number }): string {
  const parsed = parse(address);
  if (!parsed) return address;
  const prefix = parsed.kind() === 'ipv4' ? bits.v4 : bits.v6;
  const bytes = parsed.toByteArray();
  const kept = bytes.map((byte, index) => {
    const within = Math.min(8, Math.max(0, prefix - index * 8));
    return byte & (0xff << (8 - within)) & 0xff;
  });
  return `${ipaddr.fromByteArray(kept).toString()}/${prefix}`;
}

/** Networks from texts that are all addresses or CIDRs. */
export function networksOf(texts: readonly string[]): Networks {
  const networks = texts.flatMap((text) => {
    const network = parseNetwork(text);
    return network ? [network] : [];
  });
  return {
    has(address) {
      const parsed = parse(address);
      return (
        parsed !== undefined &&
        networks.some(
          ([network, prefix]) =>
            network.kind() === parsed.kind() && parsed.match(network as ipaddr.IPv4 & ipaddr.IPv6, prefix),
        )
      );
    },
  };
}

/** Whether a text is an address or a CIDR of less than the whole Internet. */
export function isNetwork(text: string): boolean {
  return parseNetwork(text) !== undefined;
}

function parse(text: string): Address | undefined {
  // Only the four-part decimal form: "010.1.1.1" and "1" mean different addresses to different programs.
  const plain = text.replace(/%[\w.-]*$/, '');
  if (!plain.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(plain)) return undefined;
  return ipaddr.isValid(plain) ? ipaddr.process(plain) : undefined;
}

function parseNetwork(text: string): [Address, number] | undefined {
  const [base = '', bits, more] = text.split('/');
  const address = parse(base);
  if (!address || more !== undefined) return undefined;
  const longest = address.kind() === 'ipv4' ? 32 : 128;
  if (bits === undefined) return [address, longest];
  // "::ffff:10.0.0.0/104" is 10.0.0.0/8.
  const mapped = base.includes(':') && longest === 32 ? 96 : 0;
  const prefix = /^\d{1,3}$/.test(bits) ? Number(bits) - mapped : -1;
  return prefix >= 1 && prefix <= longest ? [address, prefix] : undefined;
}
