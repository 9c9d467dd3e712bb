"""Release manifests: canonical JSON, checksums, Merkle tree, shards, dataset card, reading and verification.

    writing   shards.write_shard, release_writer.finish_release
    reading   reader.Release
    checking  verify.verify_release, proofs.prove_row, proofs.check_row_proof

Files are read and written by the functions named for it; everything else is bytes or Arrow in, bytes or Arrow
out.
"""
