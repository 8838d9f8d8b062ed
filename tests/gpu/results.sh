#!/bin/sh
# results.sh OUT: what run.sh left in OUT (log.txt, *.profile) as the tables of docs/gpu.md, on stdout, and all measured
# times as one profile, OUT/all.profile. Of a part that ran twice the later figures count.
set -eu
[ $# = 1 ] && [ -f "$1/log.txt" ] || { sed -n 's/^# //p' "$0"; exit 2; }
cd "$1"
rm -f all.profile
set -- *.profile
if [ -e "$1" ]; then LC_ALL=C sort -u -- "$@" > all.profile.new && mv all.profile.new all.profile; fi

title() { printf '\n%s\n\n' "$1"; }
rows() { # FIRST WORD OF A LINE, AWK PROGRAM: nothing where there is no such line
    grep "^$1," log.txt | awk -F , "$2" || :
}

title "Card"
sed -n '/^==== card/,/^---- card/p' log.txt | grep -v '^====\|^----' | sed 's/^/    /'
rows card '{ line = "    " $2; for (i = 3; i < NF; i += 2) line = line ", " $i " " $(i + 1); last = line } END { if (last) print last }'

title "Programs"
echo "| program | a step | tokens/s | peak on the device |"
echo "|---|---|---|---|"
rows step '
    { if (!($2 in seen)) order[++n] = $2; seen[$2] = 1 }
    $3 != "median s" { row[$2] = "| " $2 " | " $3 " | | |"; next }
    { agree = $10 == $12 ? "planned and measured" : sprintf("measured; planned: %.2f GiB", $12 / 1073741824)
      row[$2] = sprintf("| %s | %.1f ms (planned: %.1f) | %d | %.2f GiB, %s |", $2, 1e3 * $4, 1e3 * $6, $8, $10 / 1073741824, agree) }
    END { for (i = 1; i <= n; i++) print row[order[i]] }'
rows peer '
    { name = "PyTorch " $3 ", " $2; if (!(name in seen)) order[++n] = name; seen[name] = 1 }
    $4 != "s a step" { row[name] = "| " name " | " $4 ($5 ? ": " $5 : "") " | | |"; next }
    { row[name] = sprintf("| %s | %.1f ms | %d | %.2f GiB |", name, 1e3 * $5, $7, $13 / 1073741824) }
    END { for (i = 1; i <= n; i++) print row[order[i]] }'

title "Memory"
echo "| after | MiB in use, of |"
echo "|---|---|"
rows memory '{ if (!($2 in used)) order[++n] = $2; used[$2] = $6 " of " $4 } END { for (i = 1; i <= n; i++) print "| " order[i] " | " used[order[i]] " |" }'
grep '^context and libraries: ' log.txt | sed 's/^/    /' || :

title "Copies"
echo "| copy | GB/s |"
echo "|---|---|"
rows copy '{ text = $3 ~ /in GB/ ? ($4 > 0 ? $4 " in" : "") ($4 > 0 && $6 > 0 ? ", " : "") ($6 > 0 ? $6 " out" : "") : $4 " read and written"
    if (!($2 in row)) order[++n] = $2; row[$2] = text } END { for (i = 1; i <= n; i++) print "| " order[i] " | " row[order[i]] " |" }'

title "Products in bf16, TFLOP/s of y, dx, dw: the first algorithm, and the best of eight"
echo "| product | 1 MiB | best | 4 MiB | best | 32 MiB | best |"
echo "|---|---|---|---|---|---|---|"
rows product '
    $4 == "no algorithm" { next }
    { name = $2 " " $4; if (!(name in seen)) order[++n] = name; seen[name] = 1
      first[name, $6, $3] = sprintf("%.0f", $10); split($11, of, " "); if (of[3] > 1) best[name, $6, $3] = sprintf("%.0f", $16) }
    function three(list, name, mib) {
        if (!((name, mib, "y") in list)) return ""
        return list[name, mib, "y"] ", " list[name, mib, "dx"] ", " list[name, mib, "dw"] }
    END { for (i = 1; i <= n; i++) { name = order[i]; line = "| " name " |"
        for (m = 1; m <= 32; m *= m == 1 ? 4 : 8) line = line " " three(first, name, m) " | " three(best, name, m) " |"
        print line } }'

title "Attention, forward and backward in microseconds (TFLOP/s)"
echo "| shape | backend | microseconds |"
echo "|---|---|---|"
rows attention '$4 == "forward us" { printf "| %s | %s | %s, %s (%s, %s) |\n", $3, $2, $5, $9, $7, $11 }'

title "Operations as they were measured"
echo "| operation | microseconds, median (p10 to p90) | rate |"
echo "|---|---|---|"
[ ! -f all.profile ] || grep '^time ' all.profile | awk '
    function tensor(word,    part, dim, count, i) { # elements, bytes, last width
        sub(/~.*/, "", word); split(word, part, "["); sub(/]/, "", part[2]); count = split(part[2], dim, ",")
        elements = 1; for (i = 1; i <= count; i++) elements *= dim[i]
        last = count ? dim[count] : 1; keys = count > 1 ? dim[2] : 1
        bytes = elements * (part[1] == "bf16" ? 2 : part[1] ~ /^nf4/ ? 0.52 : part[1] ~ /8$/ ? 1 : 4) }
    function value(word) { sub(/.*=/, "", word); return word + 0 }
    { moved = 0; ins = 0; name = $3; shape = ""
      for (i = 4; $i != ":"; i++) {
          if ($i == "<") { ins = 1; continue }
          if ($i !~ /\[/) { shape = shape " " $i; continue }
          tensor($i); moved += bytes; shape = shape " " $i
          if (ins == 0 && !(NR in out)) out[NR] = elements
          if (ins == 1) { depth = last; rows = elements / (last ? last : 1) }
          if (ins == 1 && name == "attend") { work = 4 * elements * keys }
          if (ins == 2 && name == "attend_bwd") { work = 10 * elements * keys }
          if (ins) ins++ ; if (ins == 2) { first_last = last; first_rows = elements / (last ? last : 1) } }
      if (name ~ /^linear/) work = 2 * out[NR] * (name == "linear_bwd_w" ? first_rows : first_last)
      causal = / causal=1 /; p10 = value($(i + 1)); median = value($(i + 2)); p90 = value($(i + 3))
      if (name ~ /^attend/) rate = sprintf("%.0f TFLOP/s", work * (causal ? 0.5 : 1) / median / 1e6)
      else if (name ~ /^linear/) rate = sprintf("%.0f TFLOP/s", work / median / 1e6)
      else rate = sprintf("%.0f GB/s", moved / median / 1e3)
      printf "%020.3f| %s%s | %.1f (%.1f to %.1f) | %s |\n", median, name, shape, median, p10, p90, rate }' | sort -r | sed 's/^[0-9.]*//'

title "Checks"
sed -n '/^==== check/,/^---- check/p' log.txt | grep ' ok \| FAILED ' | sed 's/^/    /' || :
grep '^large,\|^sanitizer,' log.txt | sed 's/^/    /' || :
title "Parts"
grep '^---- ' log.txt | sed 's/^---- /    /' || :
