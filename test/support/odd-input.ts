/** Bad input that does not depend on a schema: odd ids, parameters, types and texts of bodies. */

/** In a path. */
export const ODD_IDS = [
  'x'.repeat(65),
  'x'.repeat(5000),
  '-1.5',
  'a.b',
  'a%20b',
  '%2F',
  '%zz',
  '%00',
  "'",
  '%C3%A9',
];

/** Of parameters of a query: none is a limit or a cursor. */
export const ODD_VALUES = [
  '',
  'x',
  '!',
  '-1',
  '1.5',
  '01e3',
  '0',
  'null',
  'true',
  '[]',
  '{}',
  '%00',
  '%zz',
  '%F0%9F%9A%80',
  'x'.repeat(401),
  '9'.repeat(40),
];

/** The `Content-Type` of bodies. */
export const ODD_TYPES = [
  'text/plain',
  'text/json',
  'application/x-www-form-urlencoded',
  'application/jsonp',
  'application/json; charset=utf-16',
  'application/json; charset=iso-8859-1',
  'application/json; x=y',
  'multipart/form-data; boundary=x',
  '',
];

/** Bodies that are not JSON in UTF-8, or too deep, made of the JSON of a valid object. */
export function notJson(text: string): Uint8Array<ArrayBuffer>[] {
  const cut = [1, 2, 4, 8].map((part) =>
    text.slice(0, text.length - Math.ceil(text.length / (part * 2))),
  );
  const broken = [
    '',
    ' ',
    'x',
    '{',
    '{]',
    `${text}x`,
    `${text}${text}`,
    text.replaceAll('"', "'"),
    `${text.slice(0, -1)},}`,
  ];
  const deep = `{"a":${'['.repeat(17)}${']'.repeat(17)}}`;
  const odd = [
    text.slice(0, -1),
    ...cut,
    ...broken,
    deep,
    `\xef\xbb\xbf${text}`,
    `{"id":"\xe9"}`,
    'a=1&b=2',
  ];
  return [...odd.map(bytes), utf16(text), bytes(`\xff\xfe${text}`)];
}

/** The bytes of a text of characters below 256. */
export const bytes = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const utf16 = (text: string) => bytes([...text].map((char) => `${char}\0`).join(''));
