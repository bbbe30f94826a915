// Where a listener of this machine is reached from this machine. Pure.

/** A host as it stands in a URL; one that means all addresses is reached by loopback. */
export function reachable(host: string): string {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return local.includes(':') ? `[${local}]` : local;
}
