/* The table of kmsctl's commands. */
#include "client/command.h"

const struct option_info option_table[OPT_COUNT] = {
#define X(code, name, arg, help) {name, arg, help},
    OPTION_TABLE(X)
#undef X
};

const struct command command_table[] = {
    {"sign", NULL, "FILE...", 0, -1, "sign releases and write FILE.dsse.json (or FILE.sig) beside each FILE",
     "Each FILE is hashed here; only its digest, size and name go to the service. A key of the scheme statement gives\n"
     "an envelope (DSSE) that binds all of what is below; one of the scheme digest the bare signature over the digest. Repetitions after 503,\n"
     "timeouts and lost connections use one Idempotency-Key, so nothing is signed twice.\n"
     "With --pub each signature is verified before it is written: a service that is not what it seems leaves no file.\n"
     "Several FILEs are sent together, up to 1,000 at a time. Each has a result of its own; one that is refused does not\n"
     "keep the others from being signed, and the exit status is 1 then.\n\n"
     "  kmsctl sign app.zip --version 1.4.0 --key ota --app com.example.app --channel stable\n"
     "  kmsctl sign --digest sha256:HEX --name app.zip --version 1.4.0\n",
     {OPT_VERSION, OPT_KEY, OPT_APP, OPT_CHANNEL, OPT_NAME, OPT_DIGEST, OPT_HASH, OPT_RAW, OPT_SIZE, OPT_SOURCE, OPT_DRY_RUN, OPT_IDEMPOTENCY_KEY, OPT_OUTPUT_FILE,
      OPT_PUB},
     cmd_sign},
    {"verify", NULL, "FILE ENVELOPE", 2, 2, "check a FILE against its envelope, offline",
     "Checks the signature with the key of --pub (never one from the envelope), the digest and size of FILE,\n"
     "and whatever of --app, --channel, --version and --name is given. Then prints every field that is bound.\n"
     "FILE may be - for standard input.\n\n"
     "  kmsctl verify app.zip app.zip.dsse.json --pub ota.pem --app com.example.app --channel stable\n",
     {OPT_PUB, OPT_ALLOW_DEV, OPT_APP, OPT_CHANNEL, OPT_VERSION, OPT_NAME}, cmd_verify},
    {"statement", "pae", "ENVELOPE", 1, 1, "write the bytes that were signed to standard output",
     "For checking with nothing but openssl:\n\n"
     "  kmsctl statement pae app.zip.dsse.json --signature-out sig > pae\n"
     "  openssl dgst -sha256 -verify ota.pem -signature sig pae\n",
     {OPT_SIGNATURE_OUT}, cmd_statement_pae},
    {"statement", "show", "ENVELOPE", 1, 1, "print what an envelope says, without checking the signature", "", {0}, cmd_statement_show},
    {"status", NULL, "", 0, 0, "state of the service: doors, log, token, keys, certificates, and what to look at",
     "What needs an operator stands at the end, with what to do about it.\n", {0}, cmd_status},
    {"whoami", NULL, "", 0, 0, "your identity and roles as the service sees them", "", {0}, cmd_whoami},
    {"renew", NULL, "[NAME]", 0, 1, "get a new certificate before the old one ends",
     "Without NAME: your own, for the key of --key-file; it takes the place of the file of --client-cert, or goes to\n"
     "--cert-out. The old one stays valid until its end; an identity has at most four, the one that ends first makes room.\n"
     "With --csr for another key: a person for herself, an administrator for the identity NAME. A job keeps its key.\n\n"
     "  kmsctl renew --days 90\n"
     "  kmsctl renew build --csr build.csr --cert-out build.pem\n",
     {OPT_DAYS, OPT_CSR, OPT_CERT_OUT}, cmd_renew},
    {"key", "create", "NAME", 1, 1, "generate a release key in the token",
     "The scheme is what the key signs for ever: release statements, or digests that are sent (policy action sign.digest).\n"
     "RSA keys sign digests with PSS padding (digest) or that of PKCS#1 v1.5 (digest-pkcs1). Long keys take a while.\n\n"
     "  kmsctl key create ota --algorithm p256 --scheme statement\n"
     "  kmsctl key create boot --algorithm rsa-4096 --scheme digest-pkcs1\n", {OPT_ALGORITHM, OPT_SCHEME}, cmd_key_create},
    {"key", "list", "", 0, 0, "list the release keys", "", {0}, cmd_key_list},
    {"key", "show", "NAME", 1, 1, "show one release key", "", {0}, cmd_key_show},
    {"key", "public", "NAME", 1, 1, "print a public key", "  kmsctl key public ota > ota.pem\n", {OPT_FORMAT}, cmd_key_public},
    {"key", "jwks", "", 0, 0, "print the public keys of all keys as one JSON Web Key set",
     "Keys that sign no more are among them, for what they signed; compromised ones are not.\n", {0}, cmd_key_jwks},
    {"key", "suspend", "NAME", 1, 1, "let a key sign nothing until it is resumed",
     "Takes effect with its record: no signature follows it in the log, and one that is under way is thrown away.\n", {OPT_REASON}, cmd_key_suspend},
    {"key", "resume", "NAME", 1, 1, "let a suspended key sign again", "", {OPT_REASON}, cmd_key_resume},
    {"key", "retire", "NAME", 1, 1, "let a key never sign again",
     "For good. The public key stays, so that everything it signed can be verified.\n", {OPT_REASON}, cmd_key_retire},
    {"key", "compromise", "NAME", 1, 1, "mark a key as compromised, for ever",
     "For good. It signs nothing any more, and what it signed before is not handed out again either: give devices\n"
     "another key, and sign newer versions with that.\n", {OPT_REASON}, cmd_key_compromise},
    {"key", "destroy", "NAME", 1, 1, "have a key removed from the token, a day ahead or more",
     "Only a suspended or retired key. Until then it can be called off with 'kmsctl key restore'; afterwards nobody\n"
     "can bring it back. The public key stays in the log.\n\n"
     "  kmsctl key destroy ota --delay-hours 72 --reason 'replaced by ota-2'\n", {OPT_DELAY_HOURS, OPT_DELAY_SECONDS, OPT_REASON}, cmd_key_destroy},
    {"key", "restore", "NAME", 1, 1, "call off the destruction of a key",
     "The key is suspended or retired again, as before.\n", {OPT_REASON}, cmd_key_restore},
    {"release", "withdraw", "", 0, 0, "record that a version must not be used", "A withdrawn version is not signed again.\n",
     {OPT_APP, OPT_CHANNEL, OPT_VERSION, OPT_REASON}, cmd_release_withdraw},
    {"time", "confirm", "", 0, 0, "confirm that a step of the service's clock was meant",
     "A clock that was set by more than five minutes counts as frozen until then; kmsctl status names the step.\n\n"
     "  kmsctl time confirm --seq 40 --reason 'battery of the clock replaced'\n", {OPT_SEQ, OPT_REASON}, cmd_time_confirm},
    {"audit", "search", "", 0, 0, "find records of the audit log",
     "Records that fit every filter given, the newest first. What is on the command line counts; KMS_APP, KMS_CHANNEL and\n"
     "KMS_SIGN_KEY do not. -o json prints each record with the SHA-256 of its line.\n\n"
     "  kmsctl audit search --event sign.release --app com.example.app --since 2026-03-01\n"
     "  kmsctl audit search --outcome denied --actor ci-build\n"
     "  kmsctl audit search --digest sha256:HEX\n",
     {OPT_EVENT, OPT_OUTCOME, OPT_ACTOR, OPT_KEY, OPT_APP, OPT_CHANNEL, OPT_VERSION, OPT_DIGEST, OPT_REQUEST, OPT_SINCE, OPT_UNTIL, OPT_LIMIT,
      OPT_OLDEST},
     cmd_audit_search},
    {"audit", "show", "SEQ", 1, 1, "show one record of the audit log, and the hash of its line", "", {0}, cmd_audit_show},
    {"audit", "follow", "", 0, 0, "print records of the audit log as they come",
     "Looks once a second, and goes on when the service was away. -o json prints a record a line, for other programs.\n\n"
     "  kmsctl audit follow --outcome denied\n"
     "  kmsctl audit follow --after 4711 -o json\n",
     {OPT_EVENT, OPT_OUTCOME, OPT_ACTOR, OPT_KEY, OPT_APP, OPT_CHANNEL, OPT_VERSION, OPT_DIGEST, OPT_REQUEST, OPT_SINCE, OPT_UNTIL, OPT_AFTER,
      OPT_LIMIT},
     cmd_audit_follow},
    {"audit", "download", "DIR", 1, 1, "copy the audit log into DIR, so that kms-audit can check it",
     "Fetches the lines of the log byte for byte, as far as it goes at that moment, and the bodies they name; whether each\n"
     "record follows the one before is checked while they come. Called again it fetches what is new. Then, with a head that\n"
     "you keep elsewhere:\n\n"
     "  kmsctl audit download copy && kms-audit verify copy --head SEQ:HASH\n", {0}, cmd_audit_download},
    {"policy", "apply", "FILE", 1, 1, "make FILE the policy", "The file is checked here first.\n", {0}, cmd_policy_apply},
    {"policy", "show", "", 0, 0, "print the policy that holds", "", {0}, cmd_policy_show},
    {"policy", "check", "FILE", 1, 1, "check a policy without applying it", "", {OPT_REMOTE}, cmd_policy_check},
    {"identity", "create", "[NAME]", 0, 1, "let somebody in: a CI job, a service, a person",
     "Exactly one credential: --csr (the service issues a certificate), --cert (they have one), or --spiffe or\n"
     "--dns together with --ca. A person gets a random handle from the service; their NAME is only written to\n"
     "the file of --people on this machine.\n\n"
     "  kmsctl identity create build --kind ci --csr build.csr --cert-out build.pem\n"
     "  kmsctl identity create 'Ada L.' --kind human --csr ada.csr --ssh ada.pub --people people.jsonl\n",
     {OPT_KIND, OPT_CSR, OPT_DAYS, OPT_CERT_OUT, OPT_CERT, OPT_SPIFFE, OPT_DNS, OPT_CA, OPT_SSH, OPT_PEOPLE}, cmd_identity_create},
    {"identity", "list", "", 0, 0, "list the identities", "", {0}, cmd_identity_list},
    {"identity", "show", "NAME", 1, 1, "show one identity (a person's NAME is the handle)", "", {0}, cmd_identity_show},
    {"identity", "disable", "NAME", 1, 1, "refuse an identity from now on", "", {OPT_REASON}, cmd_identity_disable},
    {"identity", "enable", "NAME", 1, 1, "let a disabled identity in again", "", {OPT_REASON}, cmd_identity_enable},
};
const size_t command_count = sizeof(command_table) / sizeof(command_table[0]);
