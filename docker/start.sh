#!/bin/sh
# What a container does:
#   api       answer requests on port 8000 and accept jobs, which workers carry out
#   worker    carry out jobs; listens inside its container only
#   all       both, for one machine
#   migrate   create or migrate the database's tables, and end
#   anything else is a command of `assay`
set -eu
port=${ASSAY_PORT:-8000}
# The end of the container is the end of its jobs: they save first.
export ASSAY_STOP_JOBS_AT_EXIT="${ASSAY_STOP_JOBS_AT_EXIT:-true}"
case ${1:-api} in
    api) shift $(($# > 0)); ASSAY_JOB_SLOTS=0 exec assay serve --host 0.0.0.0 --port "$port" "$@" ;;
    worker) shift; ASSAY_SCORES_ON_GPU=${ASSAY_SCORES_ON_GPU:-false} exec assay serve --host 127.0.0.1 --port "$port" "$@" ;;
    all) shift; exec assay serve --host 0.0.0.0 --port "$port" "$@" ;;
    migrate) exec assay db upgrade ;;
    *) exec assay "$@" ;;
esac
