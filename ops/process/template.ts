// Fills `{{name}}` in a text. Pure: the caller reads the text and knows what the values mean.

/**
 * Puts each value in its place. A line that holds nothing but a name with an empty value goes away, so that an option that
 * is off leaves no hole.
 * @throws {Error} when the text asks for a name that has no value: a mistake of ours, not of a user.
 */
export function fillTemplate(text: string, values: Readonly<Record<string, string>>): string {
  const lookUp = (name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`a template asks for {{${name}}}, which has no value`);
    return value;
  };
  return text
    .replace(/^[ \t]*\{\{([a-z_]+)\}\}[ \t]*\n/gm, (line, name: string) => (lookUp(name) === '' ? '' : line))
    .replace(/\{\{([a-z_]+)\}\}/g, (_, name: string) => lookUp(name));
}
