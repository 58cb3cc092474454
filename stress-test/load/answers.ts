/** Parses HTTP/1.1 answers (RFC 9112) from bytes in chunks of any size. */

/** More bytes are needed. */
export const MORE = -1;
/** The bytes are not an answer. */
export const BAD = -2;

const LONGEST_LINE = 65_536;
const LONGEST_BODY = 65_536;

type State = 'status' | 'header' | 'body' | 'size' | 'chunk' | 'chunk_end' | 'trailer' | 'to_close';

export class AnswerReader {
  /** The status of the current or last answer. */
  status = 0;
  /** Its body, if `wanted` or the status is 400 or more; latin1, up to 64 KiB. */
  body = '';
  /** The peer closes the connection after it. */
  closes = false;
  /** Keep the body of an answer below 400 too. */
  wanted = false;
  /** No byte of another answer has arrived. */
  get idle(): boolean {
    return this.state === 'status' && this.partial === '';
  }

  private state: State = 'status';
  private partial = '';
  private left = 0;
  private length = -1;
  private chunked = false;

  /** @returns where in `bytes` the first answer ends, or MORE, or BAD */
  read(bytes: Buffer, from = 0): number {
    let at = from;
    while (at < bytes.length) {
      if (this.state === 'body' || this.state === 'chunk' || this.state === 'to_close') {
        const end = Math.min(bytes.length, at + this.left);
        this.keep(bytes, at, end);
        this.left -= end - at;
        at = end;
        if (this.left > 0) return MORE;
        if (this.state === 'body') return this.finish(at);
        this.state = 'chunk_end';
        continue;
      }
      const lf = bytes.indexOf(10, at);
      if (lf < 0) {
        this.partial += bytes.toString('latin1', at, bytes.length);
        return this.partial.length > LONGEST_LINE ? BAD : MORE;
      }
      const done = this.line(bytes, at, lf);
      at = lf + 1;
      if (done !== MORE) return done === BAD ? BAD : this.finish(at);
    }
    return MORE;
  }

  /** The peer has closed. @returns whether that completes an answer */
  close(): boolean {
    const whole = this.state === 'to_close';
    this.state = 'status';
    this.partial = '';
    return whole;
  }

  /** @returns MORE, BAD, or 0 if this line completes the answer */
  private line(bytes: Buffer, at: number, lf: number): number {
    if (this.state === 'header' && this.partial === '' && !mayMatter(bytes[at])) return MORE;
    let text = this.partial + bytes.toString('latin1', at, lf);
    this.partial = '';
    if (text.endsWith('\r')) text = text.slice(0, -1);
    switch (this.state) {
      case 'status':
        return text === '' ? MORE : this.begin(text); // ignores empty lines before it (2.2)
      case 'header':
        return text === '' ? this.bodyFollows() : this.header(text);
      case 'size': {
        if (!/^[0-9a-f]{1,12}\s*(;|$)/i.test(text)) return BAD;
        this.left = Number.parseInt(text, 16);
        this.state = this.left === 0 ? 'trailer' : 'chunk';
        return MORE;
      }
      case 'chunk_end':
        this.state = 'size';
        return text === '' ? MORE : BAD;
      default: // trailer
        return text === '' ? 0 : MORE;
    }
  }

  private begin(text: string): number {
    this.status = text.startsWith('HTTP/1.') ? Number(text.slice(9, 12)) : 0;
    if (!(this.status >= 100 && this.status <= 599)) return BAD;
    this.closes = text.charCodeAt(7) === 48; // HTTP/1.0
    this.body = '';
    this.length = -1;
    this.chunked = false;
    this.state = 'header';
    return MORE;
  }

  private header(text: string): number {
    const colon = text.indexOf(':');
    const name = text.slice(0, colon).toLowerCase();
    if (name === 'content-length') {
      this.length = Number(text.slice(colon + 1));
      return Number.isSafeInteger(this.length) && this.length >= 0 ? MORE : BAD;
    }
    if (name === 'transfer-encoding') this.chunked = /\bchunked\s*$/i.test(text);
    if (name === 'connection') {
      if (/\bclose\b/i.test(text)) this.closes = true;
      else if (/\bkeep-alive\b/i.test(text)) this.closes = false;
    }
    return MORE;
  }

  private bodyFollows(): number {
    if (this.status < 200) {
      this.state = 'status'; // an interim answer: the real one follows
      return MORE;
    }
    if (this.status === 204 || this.status === 304) return 0;
    if (this.chunked) {
      this.state = 'size';
      return MORE;
    }
    if (this.length === 0) return 0;
    this.state = this.length > 0 ? 'body' : 'to_close';
    this.left = this.length > 0 ? this.length : Number.POSITIVE_INFINITY;
    if (this.state === 'to_close') this.closes = true;
    return MORE;
  }

  private keep(bytes: Buffer, at: number, end: number): void {
    if ((this.wanted || this.status >= 400) && this.body.length < LONGEST_BODY) {
      this.body += bytes.toString('latin1', at, end);
    }
  }

  private finish(at: number): number {
    this.state = 'status';
    return at;
  }
}

/** Whether a line may be empty or a relevant header: it begins with CR, LF, C or T. */
const mayMatter = (byte: number | undefined): boolean =>
  byte === 13 || byte === 10 || byte === 99 || byte === 67 || byte === 116 || byte === 84;
