import { choice, flag, integer, lines, pattern, text } from "../http/parameters.ts";

const number = flag().transform(Number);
const level = choice("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog");
const policy = choice("ACCEPT", "REJECT", "DROP");
/** Name of a security group. */
export const groupName = pattern(/^[A-Za-z][A-Za-z0-9\-_]{1,17}$/, "security group name");
/** Name of an alias or an IP set. */
export const entryName = pattern(/^[A-Za-z][A-Za-z0-9\-_]+$/, "name");
/** An address, a network, a range or an alias. */
export const address = pattern(
  /^[0-9a-fA-F.:]+(\/\d{1,3})?(-[0-9a-fA-F.:]+)?$|^(dc|guest)\/[A-Za-z0-9\-_]+$/,
  "IP/CIDR",
);

/** Firewall options of a VM. */
export const guestOptions = {
  dhcp: number.optional(),
  enable: number.optional(),
  ipfilter: number.optional(),
  log_level_in: level.optional(),
  log_level_out: level.optional(),
  macfilter: number.optional(),
  ndp: number.optional(),
  policy_in: policy.optional(),
  policy_out: policy.optional(),
  radv: number.optional(),
};
/** Firewall options of the cluster. */
export const clusterOptions = {
  ebtables: number.optional(),
  enable: integer(0).optional(),
  log_ratelimit: text().optional(),
  policy_forward: choice("ACCEPT", "DROP").optional(),
  policy_in: policy.optional(),
  policy_out: policy.optional(),
};
/** Firewall options of a node. */
export const nodeOptions = {
  enable: number.optional(),
  log_level_forward: level.optional(),
  log_level_in: level.optional(),
  log_level_out: level.optional(),
  log_nf_conntrack: number.optional(),
  ndp: number.optional(),
  nf_conntrack_allow_invalid: number.optional(),
  nf_conntrack_helpers: text().optional(),
  nf_conntrack_max: integer(32_768).optional(),
  nf_conntrack_tcp_timeout_established: integer(7875).optional(),
  nf_conntrack_tcp_timeout_syn_recv: integer(30, 60).optional(),
  nftables: number.optional(),
  nosmurfs: number.optional(),
  protection_synflood: number.optional(),
  protection_synflood_burst: integer(1).optional(),
  protection_synflood_rate: integer(1).optional(),
  smurf_log_level: level.optional(),
  tcp_flags_log_level: level.optional(),
  tcpflags: number.optional(),
};
/** What a rule may say beside its action and type. */
export const rule = {
  comment: lines().optional(),
  dest: text().optional(),
  dport: text().optional(),
  enable: integer(0).optional(),
  "icmp-type": text().optional(),
  iface: text().optional(),
  log: level.optional(),
  macro: text().optional(),
  proto: text().optional(),
  source: text().optional(),
  sport: text().optional(),
};
/** Direction of a rule, or `group` for a security group's rules. */
export const ruleType = choice("in", "out", "forward", "group");
