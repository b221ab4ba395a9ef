/* cmd_bitcoin: the subcommands of `shoal bitcoin`. Each gets argv with "bitcoin NAME" in argv[0]
 * and returns the exit code. */
#pragma once

int cmd_bitcoin_import(int argc, char **argv);
int cmd_bitcoin_reindex(int argc, char **argv);
int cmd_bitcoin_verify(int argc, char **argv);
int cmd_bitcoin_info(int argc, char **argv);
int cmd_bitcoin_block(int argc, char **argv);
int cmd_bitcoin_tx(int argc, char **argv);
int cmd_bitcoin_forks(int argc, char **argv);
int cmd_bitcoin_confirmations(int argc, char **argv);
int cmd_bitcoin_coins_stats(int argc, char **argv);
int cmd_bitcoin_dump_snapshot(int argc, char **argv);
int cmd_bitcoin_load_snapshot(int argc, char **argv);
int cmd_bitcoin_invalidate(int argc, char **argv);
int cmd_bitcoin_reconsider(int argc, char **argv);
int cmd_bitcoin_precious(int argc, char **argv);
