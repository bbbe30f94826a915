// Where a listener is reached. Pure.

/** A host as it stands in a URL; one that means all addresses is reached by loopback. */
export function reachable(host: string): string {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return local.includes(':') ? `[${local}]` : local;
}

/** HOST:PORT of an origin, the port of HTTP or HTTPS included where it is the usual one. */
export function hostAndPort(origin: string): string {
  const { hostname, port, protocol } = new URL(origin);
  return `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`;
}
