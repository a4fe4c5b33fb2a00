import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { parseFlags } from './flags.ts';

test('on a node of the kubelet nothing needs to be said', () => {
  expect(parseFlags([])).toEqual({
    nodeName: hostname(),
    kubeconfig: undefined,
    podsDirectory: '/var/lib/kubelet/pods',
    stateDirectory: '/run/vmferry',
    namespace: 'vmferry-system',
    handoverAddress: undefined,
    handoverPort: 9443,
    healthPort: 0,
  });
});

test('everything can be said', () => {
  const said = [
    '--node-name=n',
    '--kubeconfig=/k',
    '--pods-directory=/p',
    '--state-directory=/s',
    '--namespace=ns',
    '--handover-address=10.0.0.1',
    '--handover-port=2',
    '--health-port=1',
  ];
  expect(parseFlags(said)).toEqual({
    nodeName: 'n',
    kubeconfig: '/k',
    podsDirectory: '/p',
    stateDirectory: '/s',
    namespace: 'ns',
    handoverAddress: '10.0.0.1',
    handoverPort: 2,
    healthPort: 1,
  });
});

test.each([
  [['--pods-directory', 'pods'], '--pods-directory must be an absolute path.'],
  [['--node-name='], '--node-name must not be empty.'],
  [['--health-port', '70000'], '--health-port must be a port number from 0 to 65535, not "70000".'],
  [['--handover-port', 'x'], '--handover-port must be a port number from 0 to 65535, not "x".'],
  [['--nodename', 'n'], "Unknown option '--nodename'."],
])('%j is refused in one sentence', (args, sentence) => {
  expect(() => parseFlags(args)).toThrow(sentence);
});

test('help is help', () => expect(parseFlags(['--help'])).toBeUndefined());
