/** Makes the API server trust this replica: its certificate is made here, published, and replaced before it expires. */
import { setTimeout as delay } from 'node:timers/promises';
import { evictionWebhook, webhookConfiguration } from '../../api/labels.ts';
import { createKeyPair, type KeyPair } from '../../certificates/key-pair.ts';
import type { KubeClient } from '../../kube/client.ts';
import { validatingWebhookConfigurations } from '../../kube/core-resources.ts';
import { isInvalid, isNotFound } from '../../kube/errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { bundleWith } from './certificate-bundle.ts';

export interface WebhookTrustOptions {
  readonly client: Pick<KubeClient, 'get' | 'jsonPatch'>;
  readonly logger: Logger;
  /** DNS name or IP address by which the API server calls. */
  readonly address: string;
  /** Takes a certificate into use that the API server has been given. */
  readonly present: (own: KeyPair) => void;
  /** Of a certificate; it is replaced when a third of that is left. 7 days when absent. */
  readonly lifetimeMilliseconds?: number;
  /** Between two looks at the configuration, and from a new certificate's publication to its use. 10 s when absent. */
  readonly checkMilliseconds?: number;
}

const defaultLifetime = 7 * 24 * 60 * 60 * 1000;
const defaultCheck = 10_000;
/** Of writes that another replica was faster with. */
const maxTries = 10;

interface Dated extends KeyPair {
  readonly replaceAt: number;
}

export class WebhookTrust implements AsyncDisposable {
  readonly #options: WebhookTrustOptions;
  readonly #lifetime: number;
  readonly #check: number;
  readonly #stop = new AbortController();
  /** The one in use, and after it one that is about to be. */
  #own: readonly Dated[];
  #trouble: string | undefined;
  #running: Promise<void> | undefined;

  private constructor(options: WebhookTrustOptions) {
    this.#options = options;
    this.#lifetime = options.lifetimeMilliseconds ?? defaultLifetime;
    this.#check = options.checkMilliseconds ?? defaultCheck;
    this.#own = [];
  }

  /** Presents a first certificate, tries once to have it trusted, and goes on seeing to it. */
  static async establish(options: WebhookTrustOptions): Promise<WebhookTrust> {
    const trust = new WebhookTrust(options);
    const first = await trust.#make();
    trust.#own = [first];
    options.present(first);
    await trust.#publish();
    trust.#running = trust.#run();
    return trust;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the webhook ends'));
    await this.#running;
  }

  async #make(): Promise<Dated> {
    const { address } = this.#options;
    const now = Date.now();
    const notAfter = new Date(now + this.#lifetime);
    const pair = await createKeyPair(webhookConfiguration, { addresses: [address], notAfter });
    return { ...pair, replaceAt: now + (this.#lifetime * 2) / 3 };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await delay(this.#check, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const [current, next] = this.#own;
      if (next === undefined && current !== undefined && Date.now() >= current.replaceAt)
        this.#own = [current, await this.#make()];
      const published = await this.#publish();
      // Known to every API server since the look before this one.
      if (published && next !== undefined) {
        this.#own = [next];
        this.#options.present(next);
        this.#options.logger.info('The webhook has a new certificate');
      }
    }
  }

  /** @returns whether every certificate of this replica is in the bundle */
  async #publish(): Promise<boolean> {
    try {
      for (let tries = 0; tries < maxTries; tries++) {
        if (await this.#publishOnce()) {
          this.#trouble = undefined;
          return true;
        }
      }
      this.#complain('other replicas were always faster');
    } catch (error) {
      if (this.#stop.signal.aborted) return false;
      this.#complain(
        isNotFound(error) ? `there is no ValidatingWebhookConfiguration ${webhookConfiguration}` : String(error),
      );
    }
    return false;
  }

  async #publishOnce(): Promise<boolean> {
    const { client } = this.#options;
    const { signal } = this.#stop;
    const reference = { name: webhookConfiguration };
    const { metadata, webhooks = [] } = await client.get(validatingWebhookConfigurations, reference, { signal });
    const index = webhooks.findIndex(({ name }) => name === evictionWebhook);
    if (index === -1) throw new Error(`${webhookConfiguration} has no webhook ${evictionWebhook}`);
    const bundle = Buffer.from(webhooks[index]?.clientConfig.caBundle ?? '', 'base64').toString();
    const certificates = this.#own.map(({ certificate }) => certificate);
    const wanted = bundleWith(bundle, certificates, Date.now());
    if (wanted === bundle) return true;
    try {
      await client.jsonPatch(
        validatingWebhookConfigurations,
        reference,
        [
          { op: 'test', path: '/metadata/resourceVersion', value: metadata.resourceVersion },
          {
            op: 'add',
            path: `/webhooks/${index}/clientConfig/caBundle`,
            value: Buffer.from(wanted).toString('base64'),
          },
        ],
        { signal },
      );
      return true;
    } catch (error) {
      if (isInvalid(error)) return false;
      throw error;
    }
  }

  /** Once for as long as it lasts. */
  #complain(trouble: string): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#options.logger.warn(
      { trouble },
      'The API server does not ask this replica about evictions; disruption budgets refuse those of VMs that could move',
    );
  }
}
