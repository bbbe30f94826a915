// How a client shows its key. Whether one is needed is the operator's to say, and not known here. Pure.

/** A key is needed only where the operator says so; then either way of sending it will do. */
export const SECURITY_SCHEMES = {
  bearer: { type: 'http', scheme: 'bearer', description: 'An API key of the operator.' },
  apiKey: {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'The same, in a header of its own.',
  },
} as const;

/** Without a key, or with one in either header. */
export const KEY_IF_NEEDED = [{}, { bearer: [] }, { apiKey: [] }];
