"""The reference: plain torch for any device, slow and short."""
