import { QmpProtocolViolation } from './errors.ts';

/** QEMU's longest answer (query-qmp-schema) is a quarter of a MiB. A parsed line takes some twenty times its size. */
const longestLine = 2 * 1024 * 1024;

const newline = 0x0a;

/**
 * Cuts a stream of bytes into lines of strict UTF-8. Chunks say nothing about messages; a newline byte is never part of
 * another character, so that bytes are decoded line by line, when complete.
 */
export class LineSplitter {
  #parts: Buffer[] = [];
  #length = 0;

  /**
   * The lines that `chunk` completes.
   * @throws QmpProtocolViolation for a line of more than 2 MiB and for what is not UTF-8; nothing can be read after that.
   */
  *push(chunk: Buffer): Generator<string> {
    let rest = chunk;
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      this.#append(rest.subarray(0, end));
      yield this.#take();
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) this.#append(rest);
  }

  #append(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > longestLine) throw new QmpProtocolViolation(`QMP line of more than ${longestLine} bytes`);
    this.#parts.push(part);
  }

  #take(): string {
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new QmpProtocolViolation('QMP line that is not UTF-8', { cause });
    }
  }
}
