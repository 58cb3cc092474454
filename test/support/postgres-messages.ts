/**
 * Just enough of the PostgreSQL protocol for the proxy: message frames and statement texts.
 * https://www.postgresql.org/docs/18/protocol-message-formats.html
 */

/** Splits a byte stream into messages. Only a client's first message has no type. */
export function frames(
  from: 'client' | 'store',
  each: (type: string | undefined, message: Buffer) => void,
): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  let typed = from === 'store';
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const at = typed ? 1 : 0;
      if (rest.length < at + 4) return;
      const length = at + rest.readInt32BE(at);
      if (rest.length < length) return;
      const message = rest.subarray(0, length);
      rest = rest.subarray(length);
      each(typed ? String.fromCharCode(message[0] ?? 0) : undefined, message);
      typed = true;
    }
  };
}

/** The zero-terminated strings at the head of a message. */
export const strings = (message: Buffer): string[] =>
  message.toString('latin1', 5, Math.min(message.length, 4096)).split('\0');

/** A statement in lower case, with blanks folded. */
export const folded = (text: string): string => text.toLowerCase().replace(/\s+/g, ' ').trim();

export const sqlstateOf = (message: Buffer): string | undefined =>
  /\0C(\w{5})\0/.exec(message.toString('latin1'))?.[1];

export const query = (text: string): Buffer => typed('Q', `${text}\0`);

export const errorResponse = (code: string, routine = 'Test'): Buffer =>
  typed('E', `SERROR\0VERROR\0C${code}\0Mforced by the test\0R${routine}\0\0`);

function typed(type: string, content: string): Buffer {
  const head = Buffer.alloc(5, type);
  head.writeInt32BE(content.length + 4, 1);
  return Buffer.concat([head, Buffer.from(content, 'latin1')]);
}
