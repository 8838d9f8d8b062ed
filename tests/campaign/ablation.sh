#!/bin/sh
# ablation.sh SOURCE_DIR WORK_DIR [DATA_DIR...]: what each technique of planner/effort.def buys.
#
# Builds rematc as it is, and without each technique in turn (rows whose range begins at 0, set to 0; or those of
# REMAT_ABLATE="NAME NAME=VALUE"), and plans with each: every example, and every *.remat under the DATA_DIRs, at four
# budgets, and at three with host memory; every DAG (*.json) at six, and REMAT_ABLATE_SMALL (100) random ones of 5 to 14
# operations, where what is proved matters; every table of buffers (*.csv). Prints, beside what
# the whole of rematc finds, over all cases:
#
#     seconds   a token of the plans' steps, and the schedules' costs, more than with it, in percent: mean and worst
#     bound     the lower bound, lower than with it by so many percent of a step: mean and worst
#     height    of the smallest budgets and the packings, more than with it, in percent: mean and worst
#     lost      cases that were feasible, proved (that nothing fits, too) or packed with it and are not without; won: the
#               other way round
#     time      of the processor, in parts of the whole's
#
# Only what the technique is part of: DAG_ and MEMETIC of `solve`, PACK_ of `plan` and `pack`, others of `plan`. One that
# loses nothing in any case is marked `nothing`. REMAT_ABLATE_EXAMPLES names some examples alone.
set -eu
[ $# -ge 2 ] || { sed -n 's/^# \{0,1\}//p' "$0"; exit 2; }
source_dir=$(realpath "$1")
mkdir -p "$2"
work=$(realpath "$2")
shift 2
data=
for folder; do data="$data $(realpath "$folder")"; done
jobs=${REMAT_ABLATE_JOBS:-$(getconf _NPROCESSORS_ONLN)}
techniques=${REMAT_ABLATE:-$(sed -n 's/^EFFORT(\([A-Z_]*\), [^,]*, 0, .*/\1/p' "$source_dir/planner/effort.def")}

# build NAME [EFFORT]: all in one folder, where only the planner and what calls it are compiled anew
build() {
    cmake -S "$source_dir" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DREMAT_EFFORT="${2:-}" \
        $(command -v ccache >/dev/null && echo -DCMAKE_C_COMPILER_LAUNCHER=ccache) >"$work/$1/log" &&
        cmake --build "$work/build" --target rematc -j "$jobs" >>"$work/$1/log" 2>&1 ||
        { echo "cannot build $1: see $work/$1/log"; exit 1; }
    cp "$(find "$work/build" -maxdepth 2 -name rematc -type f | head -1)" "$work/$1/rematc"
}

# small FOLDER: random DAGs, the same each time
small() {
    rm -rf "$1"
    mkdir -p "$1"
    awk -v folder="$1" -v count="${REMAT_ABLATE_SMALL:-100}" 'function any(n) { return int(rand() * n) }
        BEGIN { srand(5)
            for (g = 0; g < count; g++) {
                file = sprintf("%s/small_%03d.json", folder, g)
                n = 5 + any(10)
                printf "{\"directed\": true, \"nodes\": [" >file
                for (i = 0; i < n; i++)
                    printf "%s{\"id\": %d, \"duration\": %d, \"out_cost\": %d}", i ? ", " : "", i, 1 + any(9), 1 + any(9) >file
                printf "], \"links\": [" >file
                for (i = 1; i < n; i++) {
                    near = i < 5 ? i : 5
                    first = i - 1 - any(near)
                    printf "%s{\"source\": %d, \"target\": %d}", (i > 1 ? ", " : ""), first, i >file
                    second = i - 1 - any(near)
                    if (second != first) printf ", {\"source\": %d, \"target\": %d}", second, i >file
                }
                print "]}" >file
                close(file)
            } }'
}

number() { # KEY: of the JSON on standard input
    sed -n 's/.*"'"$1"'": *\(-\{0,1\}[0-9][0-9.e+-]*\).*/\1/p' | head -1
}

# row CASE SECONDS BOUND HEIGHT: what is not known is `-`; with the processor's seconds of the run before
row() {
    cpu=$(sed -n 's/^in all *\([0-9.]*\).*/\1/p' "$work/stats")
    echo "$1 ${2:--} ${3:--} ${4:--} ${cpu:-0}"
}

# measure NAME: a row a case, of the verbs that the technique is part of
measure() {
    rematc=$work/$1/rematc plans=yes solves=yes packs=yes
    case $1 in
    whole) ;;
    DAG_* | MEMETIC* | LOCAL_*) plans= packs= ;;
    PACK_*) solves= ;;
    *) solves= packs= ;;
    esac
    [ -z "$plans" ] || for spec in "$source_dir"/examples/*.remat $([ -z "$data" ] || find $data -name '*.remat'); do
        name=$(basename "$spec" .remat)
        case " ${REMAT_ABLATE_EXAMPLES:-$name} " in *" $name "*) ;; *) continue ;; esac
        [ -f "$work/least.$name" ] ||
            { "$work/whole/rematc" plan "$spec" --json 2>"$work/stats" || :; } | number smallest_bytes >"$work/least.$name"
        [ -s "$work/least.$name" ] || continue # it is one that rematc refuses
        [ -f "$work/floor.$name" ] ||
            "$work/whole/rematc" plan "$spec" --set host=1GiB --json 2>"$work/stats" | number smallest_bytes >"$work/floor.$name"
        # from a little over the smallest by steps of 8%; with a little host memory, at the smallest there; with much, below
        for case in "least 1.005" "least 1.09" "least 1.27" "least 1.6" "floor 1 1GiB" "floor 1.03 1GiB" "least 0.92 16GiB"; do
            set -- $case
            budget=$(awk "BEGIN { printf \"%.0fB\", $(cat "$work/$1.$name") * $2 }")
            "$rematc" plan "$spec" --budget "$budget" ${3:+--set host=$3} --json --stats >"$work/out" 2>"$work/stats" || :
            seconds=- bound=-
            if ! grep -q '"feasible": false' "$work/out"; then
                # a token, since the micro-batch that is chosen may be the step's
                tokens=$(awk "BEGIN { print $(number seconds <"$work/out") * $(number tokens_per_second <"$work/out") }")
                seconds=$(awk "BEGIN { printf \"%.9g\", $(number seconds <"$work/out") / $tokens }")
                bound=$(awk "BEGIN { printf \"%.9g\", $(number lower_bound_seconds <"$work/out") / $tokens }")
            fi
            row "$name@$2${3:+,$3}" "$seconds" "$bound" "$(number smallest_bytes <"$work/out")"
        done
    done
    [ -z "$data" ] || for file in $(find $data -name '*.json' -o -name '*.csv' | LC_ALL=C sort); do
        name=$(basename "$file")
        case $file in
        *.json)
            [ -n "$solves" ] || continue
            # and just below what the whole finds to be the smallest budget
            [ -f "$work/least.$name" ] ||
                { "$work/whole/rematc" solve "$file" --budget 0.02 --json 2>"$work/stats" || :; } | number smallest_bytes >"$work/least.$name"
            least=$(cat "$work/least.$name")
            for part in 0.2 0.35 0.5 0.7 ${least:+$(awk "BEGIN { printf \"%.0f %.0f\", 0.96 * $least, 0.88 * $least }")}; do
                "$rematc" solve "$file" --budget $part --json --stats >"$work/out" 2>"$work/stats" || :
                keep=$(number keep_all_cost <"$work/out")
                bound=$(number lower_bound <"$work/out")
                [ -z "$bound" ] || bound=$(awk "BEGIN { printf \"%.9g\", ${keep:-0} * (1 + $bound) }")
                ! grep -q '"message": "no schedule fits"' "$work/out" || bound=1 # that nothing fits is proved
                row "$name@$part" "$(number cost <"$work/out")" "$bound" "$(number smallest_bytes <"$work/out")"
            done ;;
        *)
            [ -n "$packs" ] || continue
            "$rematc" pack "$file" --json --stats >"$work/out" 2>"$work/stats" || :
            row "$name" - "$(number lower_bound <"$work/out")" "$(number height <"$work/out")"
            capacity=$(echo "$name" | sed -n 's/.*\.\([0-9][0-9]*\)\.csv$/\1/p')
            [ -z "$capacity" ] || {
                "$rematc" pack "$file" --capacity "$capacity" --json --stats >"$work/out" 2>"$work/stats" || :
                row "$name@$capacity" - "$(number lower_bound <"$work/out")" "$(number height <"$work/out")"
            } ;;
        esac
    done
}

compare() { # NAME
    awk -v technique="$1" '
        function worse(now, before) { return before > 0 ? 100 * (now - before) / before : 0 }
        function note(kind, share) {
            sum[kind] += share
            cases[kind]++
            if (share > most[kind]) most[kind] = share
            if (share < least[kind]) least[kind] = share
        }
        function mean(kind) { return cases[kind] ? sum[kind] / cases[kind] : 0 }
        NR == FNR { seconds[$1] = $2; bound[$1] = $3; height[$1] = $4; taken[$1] = $5; next }
        {
            time += $5
            whole += taken[$1]
            for (i = 2; i <= 4; i++) {
                had = i == 2 ? seconds[$1] : i == 3 ? bound[$1] : height[$1]
                if (had == "-" && $i == "-") continue
                if ($i == "-") { if (i == 2 || seconds[$1] == "-") lost++; continue }
                if (had == "-") { if (i == 2) won++; continue }
                if (i == 2) note("seconds", worse($i, had))
                if (i == 3) note("bound", -worse($i, had))
                if (i == 4) note("height", worse($i, had))
            }
        }
        END {
            nothing = most["seconds"] < 5e-5 && most["bound"] < 5e-5 && most["height"] < 5e-5 && !lost
            printf "%-24s %+9.4f %+9.4f  %+9.4f %+9.4f  %+9.4f %+9.4f  %4d %4d  %6.3f%s\n", technique,
                mean("seconds"), most["seconds"], mean("bound"), most["bound"], mean("height"), most["height"],
                lost, won, whole ? time / whole : 0, nothing ? "  nothing" : ""
        }' "$work/whole/rows" "$work/$1/rows"
}

mkdir -p "$work/whole"
small "$work/small"
data="$data $work/small"
build whole
rm -f "$work"/least.* "$work"/floor.*
measure whole >"$work/whole/rows"
[ -s "$work/whole/rows" ] || { echo "nothing was measured"; exit 1; }
echo "$(wc -l <"$work/whole/rows") cases; percent worse without the technique, mean and worst"
printf '%-24s %9s %9s  %9s %9s  %9s %9s  %4s %4s  %6s\n' without seconds worst bound worst height worst lost won time
for technique in $techniques; do
    row=${technique%%=*}
    mkdir -p "$work/$row"
    case $technique in *=*) build "$row" "$technique" ;; *) build "$row" "$technique=0" ;; esac
    measure "$row" >"$work/$row/rows"
    compare "$row"
done
