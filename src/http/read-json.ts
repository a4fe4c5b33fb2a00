import type { IncomingMessage } from 'node:http';

/** The other side sent what is no JSON, or more than it may. */
export class UnreadableBody extends Error {
  override readonly name = 'UnreadableBody';
}

/**
 * The body as JSON. One that is too long is not read to its end: no more is read from its connection.
 * @throws UnreadableBody, or the connection's error when it ends before the body does
 */
export async function readJson(stream: IncomingMessage, maxBodyBytes: number): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) throw new UnreadableBody(`the body is longer than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new UnreadableBody('the body is no JSON', { cause: error });
  }
}
