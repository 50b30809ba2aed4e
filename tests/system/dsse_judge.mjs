// Judges a DSSE envelope with @sigstore/verify: node dsse_judge.mjs MODULES ENVELOPE PUBLIC_KEY_PEM
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createPublicKey } from 'node:crypto';

const [modules, envelopeFile, pemFile] = process.argv.slice(2);
const require = createRequire(modules + '/');
const { Verifier, toSignedEntity } = require('@sigstore/verify');
const { bundleFromJSON } = require('@sigstore/bundle');

const envelope = JSON.parse(readFileSync(envelopeFile));
const bundle = bundleFromJSON({
  mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2',
  verificationMaterial: { publicKey: { hint: 'release' }, tlogEntries: [], timestampVerificationData: { rfc3161Timestamps: [] } },
  dsseEnvelope: envelope,
});
const publicKey = createPublicKey(readFileSync(pemFile));
const trust = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [], publicKey: () => ({ publicKey, validFor: () => true }) };
new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, tsaThreshold: 0 }).verify(toSignedEntity(bundle));
console.log('accepted');
