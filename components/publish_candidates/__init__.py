"""The component publish_candidates: approved candidates that wait to be promoted."""
