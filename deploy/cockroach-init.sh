#!/bin/bash
# Makes a cluster of the nodes, and in it the database and the users of the services, whom the migration
# gives what each needs. It may run any number of times:
# what is there already is a success. For compose.yaml only: the cluster is insecure, users have no passwords.
set -euo pipefail

host=${COCKROACH_HOST:-roach1:26257}
patience=${PATIENCE_SECONDS:-120}

# again COMMAND…: until it succeeds or patience ends; then what it said last, and failure.
again() {
  local said
  until said=$("$@" 2>&1); do
    if ((SECONDS >= patience)); then
      echo "gave up after $patience s: $said" >&2
      return 1
    fi
    sleep 1
  done
}

initialize() {
  local said
  said=$(timeout 20 cockroach init --insecure --host="$host" 2>&1) && return
  [[ $said == *"already been initialized"* ]] && return
  echo "$said"
  return 1
}

# Each statement by itself, in order; the first that fails ends it.
prepare() {
  timeout 60 cockroach sql --insecure --host="$host" <<SQL
CREATE DATABASE IF NOT EXISTS kassa;
CREATE USER IF NOT EXISTS kassa_order;
CREATE USER IF NOT EXISTS kassa_payment;
CREATE USER IF NOT EXISTS kassa_stock;
CREATE USER IF NOT EXISTS kassa_reader;
SET CLUSTER SETTING server.shutdown.initial_wait = '5s';
$license
SQL
}

# A node says that it drains for longer than HAProxy takes to notice (three checks, one a second): the 5 s above.
# Without a licence key a cluster of several nodes is throttled to 5 open transactions after 7 days.
license=
organization=${COCKROACH_ORGANIZATION:-kassa}
if [[ -n ${COCKROACH_LICENSE:-} ]]; then
  license="SET CLUSTER SETTING cluster.organization = '${organization//\'/\'\'}';
SET CLUSTER SETTING enterprise.license = '${COCKROACH_LICENSE//\'/\'\'}';"
fi

again initialize
again prepare
echo 'the cluster, the database kassa and its users are there'
