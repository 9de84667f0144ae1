# Reads what `cargo test` prints, and prints the name of each failed test with the last lines of what it said, its panic among
# them: what stands at the end of a log is there also where the log was cut.

function tell(  i) {
  if (name == "") return
  i = lines > most ? lines - most : 0
  while (lines > i && said[(lines - 1) % most] == "") lines--
  printf "\nfailed test: %s\n", name
  for (; i < lines; i++) print said[i % most]
  name = ""
}

BEGIN { most = 30 }

/^---- .* stdout ----$/ {
  tell()
  name = $2
  lines = 0
  next
}

/^failures:$/ || /^test result: / { tell() }

name != "" && !(lines == 0 && /^$/) { said[lines++ % most] = $0 }

END { tell() }
