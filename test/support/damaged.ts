/** Valid requests with damage: the same bytes for the edge, its parser, and llhttp. */
import fc from 'fast-check';

const HEAD = 'HTTP/1.1\r\nHost: 127.0.0.1\r\n';
const PUT = ['', '\r\n', ...'\r\n\0 \t,05:;/?#\xff'];

/** Requests for `path` with a few bytes removed, inserted or doubled, in two segments. */
export function damaged(path: string): fc.Arbitrary<string[]> {
  const call = `POST ${path} ${HEAD}\r\n`;
  const sized = `POST ${path} ${HEAD}Content-Length: 2\r\n\r\n{}`;
  const chunked = `POST ${path} ${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n`;
  const wholes = [call + call, sized + call, `${chunked}\r\n${call}`, `${chunked}X: a\r\n\r\n`];
  const edit = fc.tuple(fc.nat(), fc.nat(3), fc.constantFrom(...PUT, call));
  return fc
    .tuple(fc.constantFrom(...wholes), fc.array(edit, { minLength: 1, maxLength: 3 }), fc.nat())
    .map(([text, edits, cut]) => {
      let bytes = text;
      for (const [at, gone, put] of edits) {
        const from = at % bytes.length;
        bytes = bytes.slice(0, from) + put + bytes.slice(from + gone);
      }
      return [bytes.slice(0, cut % bytes.length), bytes.slice(cut % bytes.length)];
    });
}
