// Whether an ICC colour profile is plain sRGB, told by its own description. Pure. Anything else, or anything odd, is not,
// and then the decoder converts by the profile.

/** Descriptions that makers of cameras and programs give to the profile of IEC 61966-2-1, by their beginning. */
const SRGB = /^(sRGB IEC61966-2[.-]1|sRGB built-in|GIMP built-in sRGB|sRGB\s*$)/;
/** Where the table of tags begins, and how long each of its rows is. */
const TAGS_AT = 128;
const ROW = 12;

/** True when a profile is for RGB and describes itself as sRGB. */
export function saysSrgb(profile: Uint8Array): boolean {
  const data = Buffer.from(profile.buffer, profile.byteOffset, profile.byteLength);
  if (data.length < TAGS_AT + 4 || data.toString('latin1', 16, 20) !== 'RGB ') return false;
  const tags = Math.min(data.readUInt32BE(TAGS_AT), 100);
  for (let tag = 0; tag < tags; tag++) {
    const row = TAGS_AT + 4 + tag * ROW;
    if (row + ROW > data.length) return false;
    if (data.toString('latin1', row, row + 4) === 'desc') {
      const at = data.readUInt32BE(row + 4);
      return SRGB.test(describe(data.subarray(at, at + data.readUInt32BE(row + 8))));
    }
  }
  return false;
}

/** The text of a `desc` tag: ASCII in version 2 of the format, the first of several languages (UTF-16) in version 4. */
function describe(tag: Buffer): string {
  const type = tag.toString('latin1', 0, 4);
  if (type === 'desc' && tag.length >= 12) {
    const length = tag.readUInt32BE(8);
    return tag.toString('latin1', 12, 12 + length).replace(/\0.*$/s, '');
  }
  if (type === 'mluc' && tag.length >= 28) {
    const [length, at] = [tag.readUInt32BE(20), tag.readUInt32BE(24)];
    const text = Buffer.from(tag.subarray(at, at + length - (length % 2)));
    return text.length % 2 === 0 ? text.swap16().toString('utf16le') : '';
  }
  return '';
}
