"""From batches to a model whose bits can be explained."""
