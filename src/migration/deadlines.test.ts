import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AgentPresence } from './controller-facts.ts';
import { expired, isSilent } from './deadlines.ts';
import { limits } from './limits.ts';

const limit = 30_000;
const heard = (since: number, seenAt: number): AgentPresence => ({ since, seenAt });

describe('a deadline', () => {
  test.each<{ scenario: string; now: number; agents: (AgentPresence | undefined)[]; fires: boolean }>([
    { scenario: 'fires when everybody was heard after it', now: 31_000, agents: [heard(0, 30_000)], fires: true },
    { scenario: 'does not fire before it is over', now: 29_999, agents: [heard(0, 29_999)], fires: false },
    {
      scenario: 'waits for a word that comes after it: what the agent has to say by then is read first',
      now: 90_000,
      agents: [heard(0, 29_999)],
      fires: false,
    },
    {
      scenario: 'begins anew with an agent that came back',
      now: 50_000,
      agents: [heard(20_001, 50_000)],
      fires: false,
    },
    { scenario: 'and is over in the end', now: 50_001, agents: [heard(20_001, 50_001)], fires: true },
    { scenario: 'does not run for an agent that was never heard', now: 3_600_000, agents: [undefined], fires: false },
    {
      scenario: 'needs every agent concerned',
      now: 40_000,
      agents: [heard(0, 40_000), heard(0, 20_000)],
      fires: false,
    },
    { scenario: 'needs nobody when nobody is concerned', now: 30_000, agents: [], fires: true },
  ])('$scenario', ({ now, agents, fires }) => {
    expect(expired(0, limit, now, agents)).toBe(fires);
  });

  test('never fires within its time of anybody’s coming back', () => {
    const presence = fc.tuple(fc.nat(200_000), fc.nat(200_000)).map(([since, for_]) => heard(since, since + for_));
    fc.assert(
      fc.property(fc.nat(100_000), fc.nat(400_000), fc.array(presence, { maxLength: 2 }), (begunAt, now, agents) => {
        if (!expired(begunAt, limit, now, agents)) return true;
        return (
          now >= begunAt + limit && agents.every(({ since, seenAt }) => seenAt >= Math.max(since, begunAt) + limit)
        );
      }),
    );
  });
});

describe('silence', () => {
  const long = limits.agentSilent;

  test.each<{ scenario: string; agent: AgentPresence | undefined; begunAt: number; now: number; silent: boolean }>([
    { scenario: 'nothing was heard for too long', agent: heard(0, 0), begunAt: 0, now: long + 1, silent: true },
    { scenario: 'not yet too long', agent: heard(0, 0), begunAt: 0, now: long, silent: false },
    { scenario: 'it was needed only just now', agent: heard(0, 0), begunAt: 50_000, now: 60_000, silent: false },
    { scenario: 'never heard, and needed for long', agent: undefined, begunAt: 0, now: long + 1, silent: true },
    {
      scenario: 'never heard, and needed only just now',
      agent: undefined,
      begunAt: 50_000,
      now: 60_000,
      silent: false,
    },
  ])('$scenario: $silent', ({ agent, begunAt, now, silent }) => {
    expect(isSilent(agent, begunAt, now)).toBe(silent);
  });
});
