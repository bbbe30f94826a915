// What an answer says of its own making, for those who find it later: style, model and program, as EXIF or as XMP. Pure.
// Never anything of the photo it was made from.

/** How an answer is labelled. */
export interface Label {
  readonly as: 'exif' | 'xmp';
  /** The program and its version. */
  readonly software: string;
  readonly style: string;
  readonly model: string;
  /** The model's SHA-256. */
  readonly sha256: string;
  readonly variant: string;
  /** True for weights that were trained; the embedded styles are filters. */
  readonly trained: boolean;
}

/** IPTC's words for how a digital picture came to be (https://cv.iptc.org/newscodes/digitalsourcetype/). */
const SOURCE_TYPES = {
  trained: 'http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia',
  filter: 'http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced',
} as const;

/** One line that says it all. */
export function labelLine({ style, model, sha256, variant }: Label): string {
  return `style=${style}; model=${model}; sha256=${sha256}; variant=${variant}`;
}

/** EXIF tags of the first directory. */
export function exifOf(label: Label): { IFD0: Record<string, string> } {
  return { IFD0: { Software: label.software, ImageDescription: labelLine(label) } };
}

/** An XMP packet, with IPTC's field for pictures that an algorithm made. */
export function xmpOf(label: Label): string {
  const type = label.trained ? SOURCE_TYPES.trained : SOURCE_TYPES.filter;
  return [
    '<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>',
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
    '  <rdf:Description rdf:about=""',
    '    xmlns:xmp="http://ns.adobe.com/xap/1.0/"',
    '    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"',
    '    xmlns:toonfleet="urn:toonfleet:provenance:1"',
    `    xmp:CreatorTool="${escaped(label.software)}"`,
    `    Iptc4xmpExt:DigitalSourceType="${type}"`,
    `    toonfleet:style="${escaped(label.style)}"`,
    `    toonfleet:model="${escaped(label.model)}"`,
    `    toonfleet:sha256="${escaped(label.sha256)}"`,
    `    toonfleet:variant="${escaped(label.variant)}"/>`,
    ' </rdf:RDF>',
    '</x:xmpmeta>',
    '<?xpacket end="r"?>',
  ].join('\n');
}

/** Names have letters, digits and dashes only; who writes XML escapes all the same. */
function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
