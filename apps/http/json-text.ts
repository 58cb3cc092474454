/** Finds in the text of JSON what `JSON.parse` does not tell. */

/** @returns the index of the quote that ends the string, or the end of the text */
export function endOfString(text: string, start: number): number {
  let end = start + 1;
  for (; end < text.length && text.charCodeAt(end) !== 0x22; end++) {
    if (text.charCodeAt(end) === 0x5c) end++; // a backslash, and what it escapes
  }
  return end;
}

/**
 * @param text valid JSON
 * @returns the path of the first key that repeats one of the same object
 */
export function findDuplicateKey(text: string): readonly (string | number)[] {
  const open: { at: string | number; names: Set<string> }[] = [];
  let string = '';
  for (let i = 0; i < text.length; i++) {
    const within = open.at(-1);
    switch (text[i]) {
      case '"': {
        const start = i;
        i = endOfString(text, start);
        string = text.slice(start, i + 1);
        break;
      }
      case '[':
      case '{':
        open.push({ at: text[i] === '[' ? 0 : '', names: new Set() });
        break;
      case ']':
      case '}':
        open.pop();
        break;
      case ',':
        if (typeof within?.at === 'number') within.at++;
        break;
      case ':': {
        if (!within) break;
        within.at = JSON.parse(string) as string;
        if (within.names.has(within.at)) return open.map(({ at }) => at);
        within.names.add(within.at);
      }
    }
  }
  return [];
}
