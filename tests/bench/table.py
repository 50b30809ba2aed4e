"""The figures of a benchmark as a table for people."""

ROWS = (
    ("the token alone, two processes", None, None),
    ("C_Sign", "raw_sign_per_s", "/s"),
    ("C_Sign and OpenSSL's check (B)", "baseline_sign_verify_per_s", "/s"),
    ("the service, P-256", None, None),
    ("64 connections", "singles_64_per_s", "/s"),
    ("  of B", "singles_64_of_baseline", ""),
    ("  p50", "singles_64_p50_us", "us"),
    ("  p99", "singles_64_p99_us", "us"),
    ("  processor time a signature", "cpu_us_per_signature_64", "us"),
    ("  of that of B", "cpu_64_of_baseline", ""),
    ("  of which", "cpu_us_by_process_64", "us"),
    ("  the load generator besides", "cpu_us_load_generator_64", "us"),
    ("  fdatasync a signature", "syncs_per_signature_64", ""),
    ("  records a group", "records_per_group_64", ""),
    ("  mean time of each stage", "stages_64_us", "us"),
    ("batches of 64", "batch_64_per_s", "/s"),
    ("  of B", "batch_64_of_baseline", ""),
    ("  processor time a signature", "batch_64_cpu_us_by_process", "us"),
    ("with session copies, 64 connections", "copies_singles_64_per_s", "/s"),
    ("  of B", "copies_singles_64_of_baseline", ""),
    ("  processor time a signature", "copies_cpu_us_per_signature_64", "us"),
    ("  of which", "copies_cpu_us_by_process_64", "us"),
    ("  batches of 64, of B", "copies_batch_64_of_baseline", ""),
    ("one connection, p50", "p50_1_us", "us"),
    ("  C_Sign", "sign_us", "us"),
    ("  OpenSSL's check", "verify_us", "us"),
    ("  append and fdatasync", "fdatasync_us", "us"),
    ("  p50 of the sum of the three", "p50_1_of_sum", ""),
    ("a new connection for each signature", "newconn_per_s", "/s"),
    ("  p50", "newconn_p50_us", "us"),
    ("  processor time", "newconn_cpu_us", "us"),
    ("  share of each process", "newconn_share", ""),
    ("without the log's sync, 64 connections", "nosync_singles_64_per_s", "/s"),
    ("  one connection, p50", "nosync_p50_1_us", "us"),
    ("the service, RSA-4096", None, None),
    ("64 connections", "rsa4096_per_s", "/s"),
    ("  of C_Sign", "rsa4096_of_raw", ""),
    ("kms-audit verify, P-256", None, None),
    ("processor time a signature", "audit_full_us", "us"),
    ("  chain only", "audit_chain_us", "us"),
    ("  OpenSSL alone", "audit_raw_us", "us"),
    ("  of the sum of the two", "audit_full_of_sum", ""),
    ("  processors in use", "audit_processors", ""),
)


def text(value, unit):
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{name} {one:g}" for name, one in value.items() if one is not None) + (f" {unit}" if unit and value else "") or "-"
    return f"{value:g}{' ' if unit and unit != '/s' else ''}{unit}" if value < 1e6 else f"{value:.0f}{unit}"


def show(result, out):
    m = result["machine"]
    print(f"{m['processors']} processors, {m['processor']}, Linux {m['kernel']}; {len(result['runs'])} runs, {result['seconds']} s", file=out)
    for title, name, unit in ROWS:
        if name is None:
            print(f"\n{title}", file=out)
            continue
        spread = result["spread"].get(name)
        print(f"  {title:40} {text(result[name], unit):>14}{f'   ±{spread / 2:.0%}' if spread is not None and len(result['runs']) > 1 else ''}", file=out)
