#!/bin/bash
# Makes a cluster of the nodes, and creates the database and the users of the services. The migration grants each user
# what it needs. The script may run any number of times: what exists already counts as success.
# For compose.yaml only: the cluster is insecure, and users have no passwords.
set -euo pipefail

host=${COCKROACH_HOST:-roach1:26257}
patience=${PATIENCE_SECONDS:-120}

# again COMMAND…: repeats it until it succeeds or patience ends; then prints its last output and fails.
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

# Runs each statement by itself, in order, and stops at the first that fails.
prepare() {
  timeout 60 cockroach sql --insecure --host="$host" <<SQL
CREATE DATABASE IF NOT EXISTS kassa;
CREATE USER IF NOT EXISTS kassa_order;
CREATE USER IF NOT EXISTS kassa_payment;
CREATE USER IF NOT EXISTS kassa_stock;
CREATE USER IF NOT EXISTS kassa_webhooks;
CREATE USER IF NOT EXISTS kassa_reader;
SET CLUSTER SETTING server.shutdown.initial_wait = '5s';
$license
SQL
}

# The 5 s above: a node announces that it drains for longer than HAProxy takes to notice (three checks, one a second).
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
