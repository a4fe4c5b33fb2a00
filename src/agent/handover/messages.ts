/** What the agents of an attempt's two sides say to each other, and what is taken from the wire. All calls go from the source's to the target's. */
import type { VirtualMachineMigrationStatus } from '../../api/virtual-machine-migration.gen.ts';

const qemuStandings = ['waiting', 'silent', 'absent', 'other'] as const;

/**
 * How the target's QEMU stands at this moment. waiting: it answers in band, and waits for the guest (`inmigrate`).
 * silent: it is there and does not answer in band. absent: there is none. other: it answers, and does something else.
 */
type QemuStanding = (typeof qemuStandings)[number];

/** The target agent's final word on the attempt, as in `status.target.verdict`. */
type TargetVerdict = NonNullable<NonNullable<VirtualMachineMigrationStatus['target']>['verdict']>;

const targetVerdicts: readonly TargetVerdict[] = ['TookOver', 'Refused', 'Gone', 'Lost'];

export interface PingAnswer {
  readonly qemu: QemuStanding;
  readonly verdict?: TargetVerdict;
}

/** The source has told: its QEMU is `completed`, and the guest is the target's. */
export interface CompletedMessage {
  /** Whether the guest ran when the transfer began. */
  readonly resumeTarget: boolean;
  /** When the source's QEMU stopped the guest: milliseconds since the epoch by the source's clock. */
  readonly stoppedAt?: number;
}

/** The source's agent asks the target's to give the attempt up. */
export interface RefuseMessage {
  /** For programs: a word in CamelCase of at most 64 characters, as in conditions. */
  readonly reason: string;
  /** For people; at most `maxTextLength`. */
  readonly message: string;
}

/** Without a verdict there is none yet, and the caller asks again. */
export interface VerdictAnswer {
  readonly verdict?: TargetVerdict;
}

/** Every call; each may arrive twice, and the second time changes nothing. */
export interface HandoverCalls {
  ping: { message: Readonly<Record<string, never>>; answer: PingAnswer };
  completed: { message: CompletedMessage; answer: VerdictAnswer };
  refuse: { message: RefuseMessage; answer: VerdictAnswer };
}

/** Of a text for people, in UTF-16 units. Even if each is escaped (6 bytes), the message stays below `maxBodyBytes`. */
export const maxTextLength = 1_000;
/** Of a message or an answer on the wire. */
export const maxBodyBytes = 8 * 1024;
/** The target answers a call within this time, with what it has then. A client waits longer, or it would take a patient target for a dead one. */
export const answerWithinMilliseconds = 500;

type Check = (value: unknown) => boolean;
type Reader<T> = (value: unknown) => T | undefined;

/** Reads an object with these fields and no others. */
function objectOf<T extends object>(
  checks: { readonly [K in keyof T]-?: Check },
  required: readonly (keyof T)[],
): Reader<T> {
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const known = Object.entries(value).every(
      ([key, field]) => Object.hasOwn(checks, key) && checks[key as keyof T](field),
    );
    return known && required.every((key) => Object.hasOwn(value, key)) ? (value as T) : undefined;
  };
}

const oneOf =
  (words: readonly string[]): Check =>
  (value) =>
    words.some((word) => word === value);
const isBoolean: Check = (value) => typeof value === 'boolean';
const isTime: Check = (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isReason: Check = (value) => typeof value === 'string' && /^[A-Z][A-Za-z0-9]{0,63}$/.test(value);
const isText: Check = (value) => typeof value === 'string' && value.length <= maxTextLength;

const readVerdict = objectOf<VerdictAnswer>({ verdict: oneOf(targetVerdicts) }, []);

interface CallDefinition<K extends keyof HandoverCalls> {
  /** The number is that of the protocol. */
  readonly path: string;
  readonly readMessage: Reader<HandoverCalls[K]['message']>;
  readonly readAnswer: Reader<HandoverCalls[K]['answer']>;
  /** The answer when the target's agent has none in time; without one the call fails. */
  readonly lateAnswer?: HandoverCalls[K]['answer'];
}

export const handoverCalls: { readonly [K in keyof HandoverCalls]: CallDefinition<K> } = {
  ping: {
    path: '/handover/v1/ping',
    readMessage: objectOf({}, []),
    readAnswer: objectOf<PingAnswer>({ qemu: oneOf(qemuStandings), verdict: oneOf(targetVerdicts) }, ['qemu']),
  },
  completed: {
    path: '/handover/v1/completed',
    readMessage: objectOf<CompletedMessage>({ resumeTarget: isBoolean, stoppedAt: isTime }, ['resumeTarget']),
    readAnswer: readVerdict,
    lateAnswer: {},
  },
  refuse: {
    path: '/handover/v1/refuse',
    readMessage: objectOf<RefuseMessage>({ reason: isReason, message: isText }, ['reason', 'message']),
    readAnswer: readVerdict,
    lateAnswer: {},
  },
};
