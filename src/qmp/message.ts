import { QmpProtocolViolation } from './errors.ts';
import { type EventName, events, type QmpEvent } from './events.ts';
import { array, integer, isRecord, object, string, type TypeOf } from './shape.ts';

const greeting = object({
  version: object({ qemu: object({ major: integer, minor: integer, micro: integer }), package: string }),
  capabilities: array(string),
});
const errorReply = object({ class: string, desc: string });
const rawEvent = object({ event: string, timestamp: object({ seconds: integer, microseconds: integer }) });

export type Greeting = TypeOf<typeof greeting>;

/** What was asked under this id came back: a value or an error. */
export type Reply = { readonly id: number } & (
  | { readonly value: unknown }
  | { readonly error: TypeOf<typeof errorReply> }
);

export type Message = { readonly greeting: Greeting } | { readonly reply: Reply } | { readonly event: QmpEvent };

/**
 * What one line from QEMU says. An error without an id answers something that QEMU could not parse; nothing of the kind is
 * sent here, so it counts as a violation as well.
 * @throws QmpProtocolViolation when the line is none of QMP's four messages.
 */
export function parseMessage(line: string): Message {
  let message: unknown;
  try {
    message = JSON.parse(line);
  } catch (cause) {
    throw new QmpProtocolViolation(`QMP line that is not JSON: ${excerpt(line)}`, { cause });
  }
  if (isRecord(message)) {
    const { QMP, id, error, data = {} } = message;
    if (greeting.matches(QMP)) return { greeting: QMP };
    if (integer.matches(id)) {
      if (errorReply.matches(error)) return { reply: { id, error } };
      if ('return' in message) return { reply: { id, value: message.return } };
    }
    if (rawEvent.matches(message)) return { event: asEvent(message, data) };
  }
  throw new QmpProtocolViolation(`Not a QMP message: ${excerpt(line)}`);
}

function asEvent(raw: TypeOf<typeof rawEvent>, data: unknown): QmpEvent {
  const { seconds, microseconds } = raw.timestamp;
  // QEMU writes -1 for both when it could not read the clock.
  const timestampMilliseconds = seconds < 0 ? undefined : seconds * 1000 + microseconds / 1000;
  if (isEventName(raw.event) && events[raw.event].data.matches(data)) {
    return { name: raw.event, data, timestampMilliseconds } as QmpEvent;
  }
  return { name: 'OTHER', event: raw.event, data: isRecord(data) ? data : {}, timestampMilliseconds };
}

function isEventName(name: string): name is EventName {
  return Object.hasOwn(events, name);
}

function excerpt(line: string): string {
  return JSON.stringify(line.length > 100 ? `${line.slice(0, 100)}…` : line);
}
