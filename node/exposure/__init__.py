"""What this node could release, who accepted that, and the gate that holds back the rest."""
