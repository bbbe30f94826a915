// How answers of virtual workers are recognised. Pure.

/** What `X-Model` of a virtual worker begins with. */
export const VIRTUAL_MODEL = 'virtual';
