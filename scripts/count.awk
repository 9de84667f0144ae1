# Reads what `cargo test` prints, and prints how many tests passed and how many failed. A test program that
# began and did not report, one that ran no test, and a run without any test program count as a failure each.

/^ +Running .*\(.*\)$/ { started++ }

/^test result: / {
  reported++
  passed += $4
  failed += $6
  if ($4 + $6 == 0) failed++
}

END {
  if (started > reported) failed += started - reported
  if (started == 0) failed++
  print passed + 0, failed + 0
}
