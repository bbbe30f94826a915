// Memory for pixels that is used again. Each picture takes half a megabyte or more outside of V8's heap, and V8 answers
// such growth with collections of the whole heap (measured: 3 ms of CPU a picture); what is given back here is not garbage.

/** The few buffers that are kept: one that is decoded into, one that is drawn from, one that is encoded from. */
const KEPT = 3;

/** Lends pixels and takes them back. */
export interface SpareMemory {
  /** So many bytes, with anything in them; the view may stand in a larger buffer, which goes where the view goes. */
  lend(length: number): Uint8Array<ArrayBuffer>;
  /** Nobody looks at these bytes any more. Bytes that were moved to another thread are passed over. */
  giveBack(bytes: Uint8Array<ArrayBuffer>): void;
}

export function createSpareMemory(): SpareMemory {
  const spare: ArrayBuffer[] = [];
  return {
    lend(length) {
      const at = spare.findIndex(({ byteLength }) => byteLength >= length);
      const buffer = at < 0 ? new ArrayBuffer(length) : spare.splice(at, 1)[0];
      return new Uint8Array(buffer ?? new ArrayBuffer(length), 0, length);
    },
    giveBack({ buffer }) {
      if (buffer.byteLength === 0 || spare.includes(buffer)) return;
      spare.push(buffer);
      // The smallest goes: what is kept soon fits every picture.
      if (spare.length > KEPT) spare.sort((a, b) => b.byteLength - a.byteLength).pop();
    },
  };
}
