// One fault of the settings as a line for people: the setting, what was found, what is allowed, and an example. What
// counts as a fault is decided elsewhere. Pure.

/** The line that tells one fault; `found` is in words already, as `show` gives them. */
export function fault(name: string, found: string, allowed: string, example?: string): string {
  const line = `${name}: found ${found}; allowed: ${allowed}`;
  return example === undefined ? line : `${line}; example: ${example}`;
}

/** A value in words, short enough for a line; one that may be a secret is not repeated. */
export function show(value: unknown, secret = false): string {
  if (value === undefined) return 'nothing';
  if (secret) return 'a value that does not fit';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
